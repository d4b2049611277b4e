"""From a file to a clip: decoding the frames that are wanted, one clip for a network, and windows of a long video."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinema.clip_spec import ClipSpec
from kinema.data.sampling import needed_ticks, sliding_windows, test_indices
from kinema.data.transforms import Box, cut, test_boxes, to_input
from kinema.data.video import FrameFolder, VideoReader, open_video, ticks
from kinema.errors import KinemaError, UnreadableVideo

Indices = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Window:
    """A part of a long video with its clip, or with the reason why there is none.

    Attributes:
        start: seconds from the first frame.
        end: seconds from the first frame.
        clip: uint8 `3 T crop crop`, or None.
        error: why there is no clip, or None.
    """

    start: float
    end: float
    clip: Tensor | None = None
    error: UnreadableVideo | None = None


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
    grid = ticks(reader.times, start, end, reader.duration)
    if not len(grid):
        part = f"{start or 0:g} s to {'the end' if end is None else f'{end:g} s'}"
        raise UnreadableVideo(reader.path, f"no frame from {part}, the video lasts {reader.duration:.2f} s")
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
            `spec.pad` is `error`.
    """
    spec = spec or ClipSpec()
    frames = decode(video, lambda n: test_indices(n, spec, 1)[0], start, end)
    box = test_boxes(frames.shape[1], frames.shape[2], spec, 1)[0]
    return to_input(cut(frames, box, spec.tested, flip=False)[None], spec)


def windows(
    video: str | Path, spec: ClipSpec, window_seconds: float, step_seconds: float, *, first: int = 0
) -> Iterator[Window]:
    """Walks once through a long video and yields the centre clip of every window, however long the video is.

    A window whose frames cannot be read is yielded with the reason, and the walk goes on behind the damage. Of a file
    that is cut off, all that is missing is one last window with the reason. Whole frames are dropped once they are cut,
    and no more than the clips that overlap are held.

    Args:
        video: a video file or frame folder.
        spec: how to cut a clip from a window.
        window_seconds: length of a window.
        step_seconds: from the start of one window to the start of the next, at most the window.
        first: number of the window to begin with, counted from 0.

    Yields:
        Window `k`, from `k * step_seconds` on, in the order of time. The last one ends with the video and may be
        shorter than the others; if it then has too few frames for a clip while `spec.pad` is `error`, it begins
        earlier.

    Raises:
        UnreadableVideo: the file cannot be opened, or is as a whole too short for a clip while `spec.pad` is `error`.
        KinemaError: a window or step that is not positive, or a step longer than the window.
    """

    def indices_of(n: int) -> Indices:
        return test_indices(n, spec, 1)[0]

    with open_video(video) as reader:
        wanted_frames(reader, indices_of)
        spans = sliding_windows(reader.duration, window_seconds, step_seconds, _last_frame(reader), first=first)
        held: dict[int, Tensor] = {}
        for start, end in spans:
            if spec.pad == "error" and end >= reader.duration:
                start = _early_enough(reader, start, needed_ticks(spec))
            try:
                wanted = wanted_frames(reader, indices_of, start, end)
                if wanted.min() >= reader.stored:
                    yield Window(start, reader.duration, error=_cut_off(reader))
                    return
                held = {index: part for index, part in held.items() if index >= wanted.min()}
                new = np.setdiff1d(wanted, np.fromiter(held, np.int64))
                # Kept only when all of them could be read: until then none of them is known to be sound.
                boxes = partial(test_boxes, spec=spec, crops=1)
                held |= {index: parts[0] for index, parts in cut_frames(reader, new, boxes, spec.tested)}
            except UnreadableVideo as error:
                yield Window(start, end, error=error)
            else:
                clip = torch.stack([held[int(index)] for index in wanted]).permute(3, 0, 1, 2)
                yield Window(start, end, clip)


def _last_frame(reader: VideoReader | FrameFolder) -> float:
    """Seconds of the last frame; of one that is held for long, as much as the one before it, and at most 0.1 s."""
    gaps = np.diff([*reader.times[-2:], reader.duration])
    return min(float(gaps.min()), 0.1)


def _early_enough(reader: VideoReader | FrameFolder, start: float, need: int) -> float:
    """The latest start, at most `start`, from which the rest of the video has the ticks that a clip needs."""
    if len(ticks(reader.times, start, None, reader.duration)) >= need:
        return start
    return min(start, float(reader.times[max(0, len(reader) - need)]))


def _cut_off(reader: VideoReader | FrameFolder) -> UnreadableVideo:
    where = float(reader.times[reader.stored])
    reason = f"the file is cut off at {where:.2f} s ({reader.stored} of {len(reader)} frames are there)"
    return UnreadableVideo(reader.path, f"{reason}: copy or download it again")


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Adds the file to what a sampler complains of: it knows only how many frames there are."""
    try:
        yield
    except KinemaError as error:
        raise UnreadableVideo(path, str(error)) from error
