"""Batches of clips, read by separate processes: a file that crashes, hangs or takes too much memory costs one sample.

`limits` bounds the time and memory of a sample, `slots` is the memory that the processes share, `reader` is the code of
a reader process, `pool` distributes work and replaces readers that die, `loader` makes batches of the samples.
"""
