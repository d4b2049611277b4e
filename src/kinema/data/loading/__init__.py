"""Batches of clips, read by processes of their own: a file that crashes, hangs or eats memory costs one sample.

`limits` says what one sample may cost, `slots` is the memory that the processes share, `reader` is what runs in such a
process, `pool` gives them work and replaces those that die, `loader` makes batches of what they read.
"""
