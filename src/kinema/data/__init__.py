"""From files on disk to batches: reading, sampling, transforms, data sets, doctor, puppets."""
