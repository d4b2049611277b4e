"""Turns a video and a `ClipSpec` into network input, in the same way for training, testing, prediction and the demo."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kinema.clip_spec import ClipSpec
from kinema.data.pictures import Pictures
from kinema.data.samplers import find_sampler, random_indices, test_indices
from kinema.data.transforms import Box, test_boxes, to_input
from kinema.data.video import FrameFolder, VideoReader, open_video, ticks
from kinema.errors import KinemaError, UnreadableVideo

Indices = NDArray[np.integer[Any]]
ViewKey = tuple[tuple[int, ...], Box]  # the frames of a view and the box that is cut from each
Protocol = str | tuple[int, int]  # clips and crops per video

MOST_CLIPS = 100  # all views of a video are in memory at once


def parse_views(views: Protocol) -> tuple[int, int]:
    """Parses clips and crops from `CLIPSxCROPS`, such as `10x3`, or from a pair of numbers.

    Raises:
        KinemaError: they are not two integers, there are no clips or too many, or crops are neither 1 nor 3.
    """
    text = views if isinstance(views, str) else "x".join(map(str, views))
    found = re.fullmatch(r"(\d+)[x×X](\d+)", text.strip())
    if not found:
        raise KinemaError(f"views {text}: give CLIPSxCROPS, such as 10x3 for ten clips with three crops each")
    clips, crops = int(found[1]), int(found[2])
    if clips < 1:
        raise KinemaError(f"views {text}: give at least 1 clip, such as 1x1")
    if clips > MOST_CLIPS:
        raise KinemaError(f"views {text}: give at most {MOST_CLIPS} clips")
    if crops not in (1, 3):
        raise KinemaError(f"views {text}: give 1 crop (centre) or 3 crops (along the longer side)")
    return clips, crops


@dataclass(frozen=True)
class Views:
    """The views of a video, or of a part of it.

    Attributes:
        pixels: uint8 `V T S S 3`: clip 0 with all its boxes, then clip 1, and so on.
        keys: per view the frame indices and box that it was cut from, equal if two views are equal.
        span: start and end, in seconds, of the time that the views represent: the whole part for a sampler such as
            `segments`, else from the first frame that they show to the end of the last one, within the part.
    """

    pixels: Tensor
    keys: tuple[ViewKey, ...]
    span: tuple[float, float]


def cut_views(
    video: str | Path, frames_of: Callable[[int], Indices], boxes_of: Callable[[int, int], Sequence[Box]], size: int, *,
    flip: bool = False, start: float | None = None, end: float | None = None, whole: bool = False,
) -> Views:  # fmt: skip
    """Decodes a video once for all its views; at most one full picture is in memory.

    Args:
        video: a video file or frame folder.
        frames_of: called with n, the ticks between `start` and `end`; returns the ticks of each clip, int64 [clips, T].
        boxes_of: called with height and width of the pictures; returns the boxes to cut from each.
        size: S, height and width of the views, in pixels.
        flip: mirror left and right.
        start: start of the part, in seconds from the first frame.
        end: end of the part, in seconds.
        whole: True if the views represent the whole part.

    Raises:
        UnreadableVideo: a frame cannot be read, none is between `start` and `end`, or the sampler rejects the length.
    """
    with open_video(video) as reader:
        return _cut(reader, frames_of, boxes_of, size, flip=flip, start=start, end=end, whole=whole)


def _cut(
    reader: VideoReader | FrameFolder, frames_of: Callable[[int], Indices],
    boxes_of: Callable[[int, int], Sequence[Box]], size: int, *, flip: bool = False, start: float | None,
    end: float | None, whole: bool,
) -> Views:  # fmt: skip
    frames = wanted_frames(reader, frames_of, start, end)  # clips T
    pictures = Pictures(reader, frames)
    boxes = boxes_of(pictures.height, pictures.width)
    pixels = pictures.cut(boxes, size, flip=flip)  # boxes clips T S S 3
    span = (max(start or 0.0, 0.0), reader.duration if end is None else min(end, reader.duration))
    if not whole:
        last = int(frames.max())
        until = reader.times[last + 1] if last + 1 < len(reader) else reader.duration
        span = (max(span[0], float(reader.times[frames.min()])), min(span[1], float(until)))
    keys = tuple((tuple(clip.tolist()), box) for clip in frames for box in boxes)
    return Views(pixels.transpose(0, 1).flatten(0, 1), keys, span)


def read_views(
    video: str | Path, spec: ClipSpec, clips: int = 1, crops: int = 1, *, start: float | None = None,
    end: float | None = None, rng: np.random.Generator | None = None,
) -> Views:  # fmt: skip
    """Reads the views for testing and prediction: clips at fixed places or drawn, each with its crops.

    Args:
        video: a video file or frame folder.
        spec: specification of the clips; S is `spec.tested`.
        clips: number of temporal views.
        crops: number of spatial views per clip, 1 or 3.
        start: start of the part, in seconds from the first frame.
        end: end of the part, in seconds.
        rng: draws the clips as in training (see `kinema.data.samplers.random_indices`); None uses fixed places.

    Raises:
        UnreadableVideo: a frame cannot be read, none is between `start` and `end`, or there are too few while
            `spec.pad` is `error`.
        KinemaError: the views are not possible.
    """
    with open_video(video) as reader:
        return views_of(reader, spec, clips, crops, start=start, end=end, rng=rng)


def views_of(
    reader: VideoReader | FrameFolder, spec: ClipSpec, clips: int = 1, crops: int = 1, *, start: float | None = None,
    end: float | None = None, rng: np.random.Generator | None = None,
) -> Views:  # fmt: skip
    """Same as `read_views`, for an open video; arguments and errors are the same."""

    def frames_of(n: int) -> Indices:
        return test_indices(n, spec, clips) if rng is None else random_indices(n, spec, clips, rng)

    return _cut(
        reader, frames_of, lambda height, width: test_boxes(height, width, spec, crops),
        spec.tested, start=start, end=end, whole=find_sampler(spec.sampler).whole,
    )  # fmt: skip


def read_clip(
    video: str | Path, spec: ClipSpec | None = None, *, start: float | None = None, end: float | None = None
) -> Tensor:
    """Reads the centre clip of a video with a centre crop, ready for a network.

    Args:
        video: a video file or frame folder.
        spec: specification of the clip; None is `ClipSpec()`.
        start: start of the part, in seconds from the first frame.
        end: end of the part, in seconds.

    Returns:
        float32 `1 3 T H W`, normalised, in `channels_last_3d` memory.

    Raises:
        UnreadableVideo: no frame can be read, none is between `start` and `end`, or there are too few while `spec.pad`
            is `error`.
    """
    spec = spec or ClipSpec()
    return to_input(read_views(video, spec, start=start, end=end).pixels, spec)


def wanted_frames(
    reader: VideoReader | FrameFolder,
    frames_of: Callable[[int], Indices],
    start: float | None = None,
    end: float | None = None,
) -> NDArray[np.int64]:
    """Returns the frames of an open video that are shown at the ticks that a sampler requests.

    Args:
        reader: reader of the video.
        frames_of: called with n, the ticks between `start` and `end`; returns ticks in [0, n), any shape and order.
        start: start of the part, in seconds from the first frame.
        end: end of the part, in seconds.

    Returns:
        Frame indices in the shape of the result of `frames_of`.

    Raises:
        UnreadableVideo: no frame is between `start` and `end`, or the sampler rejects the length.
    """
    grid = ticks(reader.times, start, end, reader.duration)
    if not len(grid):
        part = f"{start or 0:g} s to {'the end' if end is None else f'{end:g} s'}"
        raise UnreadableVideo(reader.path, f"no frame from {part}: the video lasts {reader.duration:.2f} s")
    with _naming(str(reader.path)):
        return grid[frames_of(len(grid))]


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Adds the file to the error of a sampler, which knows only the number of frames."""
    try:
        yield
    except KinemaError as error:
        raise UnreadableVideo(path, str(error)) from error


@dataclass(frozen=True)
class Request:
    """A request for views of a video, or of a part of it.

    Attributes:
        path: path of the file or frame folder.
        start: start of the part, in seconds from the first frame; None is the beginning.
        end: end of the part, in seconds; None is the end.
    """

    path: str
    start: float | None = None
    end: float | None = None


class RequestedViews:
    """Views of the requested videos, for a `Loader`: a dict of pixels and span, or an `UnreadableVideo`.

    Args:
        spec: specification of the clips.
        clips: number of temporal views.
        crops: number of spatial views per clip, 1 or 3.

    Raises:
        KinemaError: the views are not possible.
    """

    def __init__(self, spec: ClipSpec, clips: int, crops: int) -> None:
        check_views(spec, clips, crops)
        self.spec, self.clips, self.crops = spec, clips, crops

    def __getitem__(self, request: Request) -> dict[str, Any]:
        views = read_views(request.path, self.spec, self.clips, self.crops, start=request.start, end=request.end)
        return {"views": views.pixels, "span": views.span}

    @property
    def item_bytes(self) -> int:
        """Size of the views of one video, in bytes."""
        return view_bytes(self.spec, self.clips, self.crops)

    def path(self, key: Request) -> str:
        """Returns the video of a request."""
        return key.path

    def failure(self, key: Request, reason: str) -> UnreadableVideo:
        """Returns the placeholder for a video that could not be read."""
        return UnreadableVideo(key.path, reason)


def check_views(spec: ClipSpec, clips: int, crops: int) -> None:
    """Rejects impossible views before any video is opened.

    Raises:
        KinemaError: `clips` is below 1, or `crops` is neither 1 nor 3.
    """
    test_indices(spec.frames * spec.stride, spec, clips)
    test_boxes(spec.crop, spec.crop, spec, crops)


def view_bytes(spec: ClipSpec, clips: int, crops: int) -> int:
    """Returns the size of the views of one video, in bytes."""
    return clips * crops * spec.frames * spec.tested**2 * 3
