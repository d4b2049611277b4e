"""The doctor: checks of labels, splits, files and duplicates in a data set before anything is trained."""
