"""Shards: tar files in WebDataset's layout, of which single samples are read by an index, here or at an address.

A sample is named `SHARD.tar#NAME`, such as `0003.tar#0003017.mp4`, and stands wherever the path of a video may stand.
Beside the shard lies `SHARD.index.json` with the place, the size and the SHA-256 of each of its samples. Every reading
of a sample compares its SHA-256, so that damage costs that sample and no other.
"""
