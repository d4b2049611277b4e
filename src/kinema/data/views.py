"""From a video and a `ClipSpec` to the views of it that a network is shown in testing and prediction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from kinema.clip_spec import ClipSpec
from kinema.data.clips import wanted_frames
from kinema.data.pictures import Pictures
from kinema.data.sampling import test_indices
from kinema.data.transforms import Box, test_boxes
from kinema.data.video import open_video
from kinema.errors import KinemaError, UnreadableVideo

ViewKey = tuple[tuple[int, ...], Box]  # the frames of a view and what is cut from each
Protocol = str | tuple[int, int]  # clips and crops of every video

MOST_CLIPS = 100  # all views of a video are held at once


def parse_views(views: Protocol) -> tuple[int, int]:
    """Clips and crops of `CLIPSxCROPS`, such as `10x3`, or of a pair of numbers.

    Raises:
        KinemaError: not two integers, no clip or too many, or crops other than 1 and 3.
    """
    text = views if isinstance(views, str) else "x".join(map(str, views))
    found = re.fullmatch(r"(\d+)[x×X](\d+)", text.strip())
    if not found:
        raise KinemaError(f"--views {text}: give CLIPSxCROPS, such as 10x3 for ten clips with three crops each")
    clips, crops = int(found[1]), int(found[2])
    if clips < 1:
        raise KinemaError(f"--views {text}: give at least 1 clip, such as 1x1")
    if clips > MOST_CLIPS:
        raise KinemaError(f"--views {text}: give at most {MOST_CLIPS} clips")
    if crops not in (1, 3):
        raise KinemaError(f"--views {text}: give 1 crop (centre) or 3 crops (along the longer side)")
    return clips, crops


@dataclass(frozen=True)
class Views:
    """The views of a video, or of a part of it.

    Attributes:
        pixels: uint8 `V 3 T S S` with S as `ClipSpec.tested`: clip 0 with all its crops, then clip 1, and so on.
        keys: for every view what it was cut from (frame indices, box), equal where two views are equal.
        span: start and end in seconds of what the views stand for: with the sampler `segments` the whole part, else
            from the first frame that they show to the end of the last one, within the part.
    """

    pixels: Tensor
    keys: tuple[ViewKey, ...]
    span: tuple[float, float]


def read_views(
    video: str | Path, spec: ClipSpec, clips: int = 1, crops: int = 1, *, start: float | None = None,
    end: float | None = None,
) -> Views:  # fmt: skip
    """Decodes a video once for all its views.

    Args:
        video: a video file or frame folder.
        spec: how to cut clips.
        clips: temporal views.
        crops: spatial views of each, 1 or 3.
        start: of the part to look at, in seconds from the first frame.
        end: of the part, in seconds.

    Raises:
        UnreadableVideo: a frame cannot be had, none lies between `start` and `end`, or there are too few of them while
            `spec.pad` is `error`.
        KinemaError: views that cannot be cut.
    """
    with open_video(video) as reader:
        frames = wanted_frames(reader, lambda n: test_indices(n, spec, clips), start, end)  # clips T
        pictures = Pictures(reader, frames)
        boxes = test_boxes(pictures.height, pictures.width, spec, crops)
        views = pictures.cut(boxes, spec.tested)  # crops clips T S S 3
        span = (max(start or 0.0, 0.0), reader.duration if end is None else min(end, reader.duration))
        if spec.sampler != "segments":  # whose frames stand for the whole part
            last = int(frames.max())
            until = reader.times[last + 1] if last + 1 < len(reader) else reader.duration
            span = (max(span[0], float(reader.times[frames.min()])), min(span[1], float(until)))
    keys = tuple((tuple(clip.tolist()), box) for clip in frames for box in boxes)
    return Views(views.transpose(0, 1).flatten(0, 1).permute(0, 4, 1, 2, 3), keys, span)


@dataclass(frozen=True)
class Request:
    """A video, or a part of it, of which views are wanted.

    Attributes:
        path: of the file or frame folder.
        start: of the part, in seconds from the first frame; None is the beginning.
        end: of the part, in seconds; None is the end.
    """

    path: str
    start: float | None = None
    end: float | None = None


class RequestedViews:
    """Views of the videos that are asked for, for a `Loader`: a dict of pixels and span, or an `UnreadableVideo`.

    Args:
        spec: how to cut clips.
        clips: temporal views.
        crops: spatial views of each, 1 or 3.

    Raises:
        KinemaError: views that cannot be cut.
    """

    def __init__(self, spec: ClipSpec, clips: int, crops: int) -> None:
        check_views(spec, clips, crops)
        self.spec, self.clips, self.crops = spec, clips, crops

    def __getitem__(self, request: Request) -> dict[str, Any]:
        views = read_views(request.path, self.spec, self.clips, self.crops, start=request.start, end=request.end)
        return {"views": views.pixels, "span": views.span}

    @property
    def item_bytes(self) -> int:
        """Bytes of the views of one video."""
        return view_bytes(self.spec, self.clips, self.crops)

    def path(self, key: Request) -> str:
        """The video of a request."""
        return key.path

    def failure(self, key: Request, reason: str) -> UnreadableVideo:
        """What stands for a video that could not be read."""
        return UnreadableVideo(key.path, reason)


def check_views(spec: ClipSpec, clips: int, crops: int) -> None:
    """Refuses views that cannot be cut, before any video is opened.

    Raises:
        KinemaError: fewer than one clip, or another number of crops than 1 or 3.
    """
    test_indices(spec.frames * spec.stride, spec, clips)
    test_boxes(spec.crop, spec.crop, spec, crops)


def view_bytes(spec: ClipSpec, clips: int, crops: int) -> int:
    """Bytes of the views of one video."""
    return clips * crops * spec.frames * spec.tested**2 * 3
