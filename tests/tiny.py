"""Tiny videos on disk for the tests of training and of the command line."""

from __future__ import annotations

import csv
from pathlib import Path

import av
import numpy as np


def write_video(path: Path, frames: np.ndarray, rate: int = 12) -> Path:
    """H.264 from uint8 T H W 3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        stream.codec_context.thread_count = 1
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image))))
        container.mux(stream.encode())
    return path


def moving_square(rng: np.random.Generator, to_the_right: bool, frames: int = 12, size: int = 48) -> np.ndarray:
    """A bright square that crosses a noisy picture, uint8 T size size 3."""
    clip = rng.integers(0, 60, (frames, size, size, 3), dtype=np.uint8)
    top = int(rng.integers(4, size - 16))
    for t in range(frames):
        left = 2 + t * (size - 16) // (frames - 1)
        left = left if to_the_right else size - 14 - left
        clip[t, top : top + 12, left : left + 12] = (250, 220, 60)
    return clip


def tiny_data(folder: Path, train: int = 6, test: int = 3) -> Path:
    """A data set of two classes, `go left` and `go right`, with a manifest and a flip map; gives the manifest."""
    rng = np.random.default_rng(5)
    rows = []
    for split, count in (("train", train), ("test", test)):
        for label in ("go left", "go right"):
            for i in range(count):
                name = f"{split} {label} {i}.mp4"
                write_video(folder / name, moving_square(rng, label == "go right"))
                rows.append((name, label, split))
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    (folder / "flip_map.json").write_text('{"go left": "go right"}', encoding="utf-8")
    return folder / "manifest.csv"
