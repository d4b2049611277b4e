"""The slow, obvious way to the frames of a file, with which readers are compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from data.odd_videos import frame_number, write_odd

from kinema.data.reading.pyav import open_input

TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rotated_90": lambda frame: np.rot90(frame, 1),
    "rotated_180": lambda frame: np.rot90(frame, 2),
    "rotated_270": lambda frame: np.rot90(frame, 3),
    "mirrored": lambda frame: frame[:, ::-1],
}


def full_decode(path: Path) -> list[np.ndarray]:
    """Every frame, decoded from the first packet to the last, scaled to the size that the stream declares."""
    frames: list[np.ndarray] = []
    with open_input(path) as container:
        stream = container.streams.best("video")
        stream.codec_context.thread_count = 1
        size = {"width": stream.codec_context.width, "height": stream.codec_context.height}
        for packet in container.demux(stream):
            try:
                decoded = stream.codec_context.decode(packet if packet.size else None)
            except av.FFmpegError:
                continue
            frames += [frame.reformat(format="rgb24", **size).to_ndarray().copy() for frame in decoded]
    return frames


class Library:
    """Files of every kind with their full decode, made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, tuple[Path, list[np.ndarray]]] = {}
        self._numbers: dict[str, list[int]] = {}

    def numbers(self, kind: str) -> list[int]:
        """What the frames of a file say, before they are turned."""
        self(kind)
        return self._numbers[kind]

    def __call__(self, kind: str) -> tuple[Path, list[np.ndarray]]:
        if kind not in self._made:
            path = write_odd(kind, self._folder)
            frames, turn = full_decode(path), TURNS.get(kind, lambda frame: frame)
            self._made[kind] = path, [turn(frame) for frame in frames]
            self._numbers[kind] = [frame_number(frame) for frame in frames]
        return self._made[kind]


def stored_order(path: Path) -> list[int]:
    """The packet of every frame, in the order of showing."""
    with av.open(str(path)) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.size]
    return sorted(range(len(stamps)), key=stamps.__getitem__)


def assert_frames(got: object, expected: list[np.ndarray], indices: list[int]) -> None:
    frames = np.asarray(got)
    assert len(frames) == len(indices)
    for frame, index in zip(frames, indices, strict=True):
        assert frame.shape == expected[index].shape
        assert np.array_equal(frame, expected[index]), f"frame {index} of {indices}"
