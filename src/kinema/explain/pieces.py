"""Reading of one video, its facts, clips and frames, in a process that may crash or hang."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from torch import Tensor

from kinema.clip_spec import ClipSpec
from kinema.data.loading.limits import ReadLimits
from kinema.data.loading.loader import SINGLE_VIDEO_READERS, Loader
from kinema.data.reading.container import open_video_stream
from kinema.data.reading.picture import Picture
from kinema.data.video import FrameFolder, VideoReader, open_video
from kinema.errors import UnreadableVideo

_MOST_STRETCH = 8  # a larger sample aspect ratio means a damaged header


@dataclass(frozen=True)
class Facts:
    """Properties of a video that are known before its frames are read.

    Attributes:
        times: float64 [frames], seconds since the first frame.
        duration: seconds.
        clock: the time base that the file states, seconds; None for a folder of frames.
        stretch: factors (horizontal, vertical) by which a player enlarges frames whose pixels are not square.
        size: width and height of the upright frames, pixels.
    """

    times: npt.NDArray[np.float64]
    duration: float
    clock: Fraction | None
    stretch: tuple[Fraction, Fraction]
    size: tuple[int, int]


@dataclass(frozen=True)
class ClipKey:
    """The request for the clip of a part of the video."""

    spec: ClipSpec
    start: float | None
    end: float | None


Key = ClipKey | list[int] | None  # a clip, frames by their ascending indices, or the facts


class Pieces:
    """Pieces of one video, read one after another.

    Args:
        video: its path.
        cut: called with the path, a `ClipSpec`, start and end; returns a clip and its place.
        limits: limits for reading one piece.
    """

    def __init__(self, video: str, cut: Callable[..., tuple[Tensor, Any]], limits: ReadLimits | None = None) -> None:
        self._video, self._cut, self._limits = video, cut, limits
        self._reader: VideoReader | FrameFolder | None = None  # in the reader process
        self._loader: Loader[Any] | None = None
        self.item_bytes = 0

    def read(self, keys: Sequence[Key], size: int = 0) -> Generator[dict[str, Any], None, None]:
        """Yields the pieces for keys in order: `facts`; `clip` and `place`; or `frames`, uint8 `n height width 3`.

        Args:
            keys: the requested pieces.
            size: bytes of the tensors of the largest piece.

        Raises:
            UnreadableVideo: during iteration: a piece cannot be read.
        """
        if self._loader is None or size > self.item_bytes:
            self._close_loader()
            self.item_bytes = max(size, self.item_bytes)
            self._loader = Loader(self, (), _copied, readers=SINGLE_VIDEO_READERS, largest=1, limits=self._limits)
        self._loader.batch_sampler = [[key] for key in keys]
        with closing(iter(self._loader)) as coming:  # type: ignore[type-var]  # a generator
            for found in coming:
                if isinstance(found, UnreadableVideo):
                    raise found
                yield found

    def close(self) -> None:
        """Ends the reader process."""
        self._close_loader()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _close_loader(self) -> None:
        if self._loader is not None:
            self._loader.close()
            self._loader = None

    def __getitem__(self, key: Key) -> dict[str, Any]:
        if isinstance(key, ClipKey):
            clip, place = self._cut(self._video, key.spec, start=key.start, end=key.end)
            return {"clip": clip, "place": place}
        if self._reader is None:
            self._reader = open_video(self._video)
        if key is None:
            info = self._reader.info
            clock, stretch = _clock_and_stretch(self._reader)
            size = (info.width, info.height)
            return {"facts": Facts(self._reader.times, self._reader.duration, clock, stretch, size)}
        return {"frames": self._reader.read(key)}

    def failure(self, key: Key, reason: str) -> UnreadableVideo:
        """Returns the placeholder for an unavailable piece."""
        return UnreadableVideo(self._video, reason)

    def path(self, key: Key) -> str:
        """The video."""
        return self._video


def _copied(items: list[Any]) -> Any:
    """Returns the only piece of a batch, as a copy."""
    (item,) = items
    if isinstance(item, UnreadableVideo):
        return item
    return {key: value.clone() if isinstance(value, Tensor) else value for key, value in item.items()}


def _clock_and_stretch(reader: VideoReader | FrameFolder) -> tuple[Fraction | None, tuple[Fraction, Fraction]]:
    """Returns the time base of a file, and the aspect ratio of its pixels after rotation."""
    one = Fraction(1)
    if not isinstance(reader, VideoReader):
        return None, (one, one)
    container, stream = open_video_stream(reader.file)
    with container:
        aspect = Fraction(stream.sample_aspect_ratio or 0)
        clock = stream.time_base
        if not Fraction(1, _MOST_STRETCH) <= aspect <= _MOST_STRETCH or aspect == 1:
            return clock, (one, one)
        if _is_transposed(container, stream):
            aspect = 1 / aspect
    return clock, (max(aspect, one), max(1 / aspect, one))


def _is_transposed(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """Returns True if the display matrix exchanges width and height."""
    probe = Picture((2, 1))
    stream.codec_context.thread_count = 1
    try:
        for frame in container.decode(stream):
            probe.look(frame)
            break
    except av.FFmpegError:  # damage is reported when the frames are decoded
        return False
    return probe.shown_size == (1, 2)
