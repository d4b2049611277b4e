"""Shards: tar files in WebDataset's layout; single samples are read by an index, from disk or from an address.

A sample is named `SHARD.tar#NAME`, such as `0003.tar#0003017.mp4`, and can be used wherever a video path can. Beside
the shard is `SHARD.index.json` with the position, size and SHA-256 of each sample. The SHA-256 is compared at every
read of a sample, so that damage costs only that sample.
"""
