"""How a video file or a folder of frames becomes pixels; `kinema.data.video` is the door to it.

A file passes four stations: `packets` (what is stored), `frame_table` (which packet shows which frame, when, and where
decoding must start for it), `decoder` (as little decoding as will do), `picture` (decoded frame to RGB).
"""
