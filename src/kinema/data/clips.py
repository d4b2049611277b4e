"""From a file to a clip: decoding the frames that are wanted, one clip for a network, and windows of a long video."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinema.clip_spec import ClipSpec
from kinema.data.sampling import sliding_windows, test_indices
from kinema.data.transforms import Box, cut, test_boxes, to_input
from kinema.data.video import FrameFolder, VideoReader, open_video, ticks
from kinema.errors import KinemaError, UnreadableVideo

Indices = NDArray[np.integer[Any]]

_CHUNK = 64 * 2**20  # bytes of whole frames that are decoded before they are cut


def decode(
    path: str | Path,
    indices_of: Callable[[int], Indices],
    start: float | None = None,
    end: float | None = None,
) -> Tensor:
    """Decodes the whole frames that a sampler asks for.

    Args:
        path: a video file or frame folder.
        indices_of: called with n, the ticks between `start` and `end`; gives ticks in [0, n), any shape and order.
        start: of the part, in seconds from the first frame.
        end: of the part, in seconds.

    Returns:
        uint8 RGB `... H W 3`, one frame for every tick asked for.

    Raises:
        UnreadableVideo: no frame can be had, none lies between `start` and `end`, or the sampler refuses the length.
    """
    with open_video(path) as reader:
        wanted = wanted_frames(reader, indices_of, start, end)
        frames = reader.read(wanted.reshape(-1))
    return frames.reshape(*wanted.shape, *frames.shape[1:])


def wanted_frames(
    reader: VideoReader | FrameFolder,
    indices_of: Callable[[int], Indices],
    start: float | None = None,
    end: float | None = None,
) -> NDArray[np.int64]:
    """The frames of the file that are shown at the ticks a sampler asks for (arguments as for `decode`).

    Raises:
        UnreadableVideo: no frame lies between `start` and `end`, or the sampler refuses the length.
    """
    grid = ticks(reader.times, start, end)
    if not len(grid):
        part = f"{start or 0:g} s to {'the end' if end is None else f'{end:g} s'}"
        raise UnreadableVideo(reader.path, f"no frame from {part}, the video lasts {reader.info.duration:.2f} s")
    with _naming(str(reader.path)):
        return grid[indices_of(len(grid))]


def cut_frames(
    reader: VideoReader | FrameFolder, indices: Indices, boxes_of: Callable[[int, int], Sequence[Box]], size: int
) -> Iterator[tuple[int, Tensor]]:
    """Decodes frames in order and cuts boxes from each, holding few whole frames at a time.

    Args:
        reader: an open video.
        indices: frames, ascending, each once.
        boxes_of: called with the height and width of the frames; gives what to cut from each.
        size: height and width of the results in pixels.

    Yields:
        (frame index, uint8 `boxes size size 3`).
    """
    begin, step = 0, 1  # the first frame alone: it tells how many fit into a chunk
    while begin < len(indices):
        chunk = indices[begin : begin + step]
        frames = reader.read(chunk)
        boxes = boxes_of(frames.shape[1], frames.shape[2])
        parts = torch.stack([cut(frames, box, size, flip=False).permute(1, 2, 3, 0) for box in boxes], dim=1)
        for index, part in zip(chunk, parts, strict=True):
            yield int(index), part
        begin += step
        step = max(1, _CHUNK // frames[0].numel())


def read_clip(
    video: str | Path, spec: ClipSpec | None = None, *, start: float | None = None, end: float | None = None
) -> Tensor:
    """The centre clip of a video, centre crop, ready for a network.

    Args:
        video: a video file or frame folder.
        spec: how to cut; None is `ClipSpec()`.
        start: of the part to look at, in seconds from the first frame.
        end: of the part, in seconds.

    Returns:
        float32 `1 3 T H W`, normalised, in `channels_last_3d` memory.

    Raises:
        UnreadableVideo: no frame can be had, none lies between `start` and `end`, or there are too few of them and
            `spec.short` is `error`.
    """
    spec = spec or ClipSpec()
    frames = decode(video, lambda n: test_indices(n, spec, 1)[0], start, end)
    box = test_boxes(frames.shape[1], frames.shape[2], spec, 1)[0]
    return to_input(cut(frames, box, spec.crop, flip=False)[None], spec)


def windows(
    video: str | Path, spec: ClipSpec, window_seconds: float, step_seconds: float
) -> Iterator[tuple[float, float, Tensor]]:
    """Walks once through a long video and yields the centre clip of every window, however long the video is.

    Args:
        video: a video file or frame folder.
        spec: how to cut a clip from a window.
        window_seconds: length of a window.
        step_seconds: from the start of one window to the start of the next, at most the window.

    Yields:
        (start in seconds, end in seconds, uint8 `3 T crop crop`). The last window ends with the video and may be
        shorter than the others.

    Raises:
        UnreadableVideo: no frame can be had.
        KinemaError: a window or step that is not positive, or a step longer than the window.
    """
    if not 0 < step_seconds <= window_seconds:
        raise KinemaError(f"windows of {window_seconds:g} s every {step_seconds:g} s: give 0 < step <= window")
    with open_video(video) as reader:
        info = reader.info
        grid = wanted_frames(reader, np.arange)
        length, step = (max(1, round(seconds * info.fps)) for seconds in (window_seconds, step_seconds))
        with _naming(info.path):
            spans = sliding_windows(len(grid), spec, length, step)
            clips = [grid[start + test_indices(end - start, spec, 1)[0]] for start, end in spans]
        frames = np.unique(np.concatenate(clips))
        stream = cut_frames(reader, frames, lambda height, width: test_boxes(height, width, spec, 1), spec.crop)
        held: dict[int, Tensor] = {}
        for i, (start, end) in enumerate(spans):
            while int(clips[i].max()) not in held:
                index, part = next(stream)
                held[index] = part[0]
            clip = torch.stack([held[int(index)] for index in clips[i]]).permute(3, 0, 1, 2)
            yield start / info.fps, min(end / info.fps, info.duration), clip
            if i + 1 < len(spans):
                first = int(clips[i + 1].min())
                held = {index: part for index, part in held.items() if index >= first}


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Adds the file to what a sampler complains of: it knows only how many frames there are."""
    try:
        yield
    except KinemaError as error:
        raise UnreadableVideo(path, str(error)) from error
