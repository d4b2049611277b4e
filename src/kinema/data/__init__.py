"""From files on disk to batches: labelled videos, their frames, clips and views, and tools for data sets.

- `read_manifest(data)` reads a folder, a CSV or a catalogue into a `Manifest` of `Sample`s; `examine(data)` checks it
  (`kinema data doctor`), and `pack(data, out)` re-encodes it for fast decoding (`kinema data pack`).
- `find_videos(inputs)` lists the videos that are given by files, folders and patterns.
- `open_video(path)` reads frames by number, and `probe(path)` returns a `VideoInfo` without decoding.
- `read_clip(path, spec)` returns one central clip for a network, and `read_views(...)` the views of a test.
- `TrainClips` and `TestVideos` are datasets for `torch.utils.data.DataLoader`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinema.lazy import lazy_names

if TYPE_CHECKING:
    from kinema.data.datasets import TestVideos, TrainClips
    from kinema.data.doctor.examine import examine
    from kinema.data.manifest import Manifest, read_manifest
    from kinema.data.packing.pack import pack
    from kinema.data.sources import Sample
    from kinema.data.video import VideoInfo, open_video, probe
    from kinema.data.video_search import find_videos
    from kinema.data.views import read_clip, read_views

__all__ = [
    "Manifest",
    "Sample",
    "TestVideos",
    "TrainClips",
    "VideoInfo",
    "examine",
    "find_videos",
    "open_video",
    "pack",
    "probe",
    "read_clip",
    "read_manifest",
    "read_views",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Manifest": "kinema.data.manifest",
        "Sample": "kinema.data.sources",
        "TestVideos": "kinema.data.datasets",
        "TrainClips": "kinema.data.datasets",
        "VideoInfo": "kinema.data.video",
        "examine": "kinema.data.doctor.examine",
        "find_videos": "kinema.data.video_search",
        "open_video": "kinema.data.video",
        "pack": "kinema.data.packing.pack",
        "probe": "kinema.data.video",
        "read_clip": "kinema.data.views",
        "read_manifest": "kinema.data.manifest",
        "read_views": "kinema.data.views",
    },
)
