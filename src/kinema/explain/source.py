"""A video as its viewer sees it, at the times of its own frames, and the clip of it that a network sees."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kinema.clip_spec import ClipSpec
from kinema.data.loading.limits import ReadLimits
from kinema.data.transforms import to_input
from kinema.data.views import read_views
from kinema.errors import KinemaError
from kinema.explain.pieces import ClipKey, Facts, Pieces
from kinema.files import on_behalf_of

Pixels = npt.NDArray[np.uint8]
Rectangle = tuple[int, int, int, int]  # left, top, width, height

_CHUNK = 16 * 2**20  # bytes of whole frames that are read at once
_CLOCKS = (Fraction(1, 30), Fraction(1, 1000), Fraction(1, 90_000))  # tried in this order where a file names none
_FINEST = 1_000_000  # ticks per second; finer clocks overflow the 32-bit fields of MP4 files


@dataclass(frozen=True)
class Place:
    """Where a clip lies in its video.

    Attributes:
        frames: T indices, the frame of the video that each frame of the clip shows.
        box: left, top, width and height of the crop, in pixels of the upright frame before its pixels are stretched by
            the sample aspect ratio.
        span: start and end in seconds of the part of the video that the clip stands for.
    """

    frames: tuple[int, ...]
    box: Rectangle
    span: tuple[float, float]


def source_clip(
    video: str | Path, spec: ClipSpec, *, start: float | None = None, end: float | None = None
) -> tuple[Tensor, Place]:
    """The centre clip of a video and its place in it. The only function here that knows how clips are cut.

    Args:
        video: a video file or a folder of frames.
        spec: how to cut.
        start: of the part to look at, in seconds from the first frame.
        end: of the part, in seconds.

    Returns:
        The clip, float32 `1 3 T S S`, normalised, as a network takes it, and its place.

    Raises:
        UnreadableVideo: as for `Recognizer.predict`.
    """
    with on_behalf_of(video):
        views = read_views(video, spec, start=start, end=end)
    frames, box = views.keys[0]
    place = Place(frames, (box.left, box.top, box.width, box.height), views.span)
    return to_input(views.pixels[:1], spec), place


def pixels_of(clip: Tensor, spec: ClipSpec) -> Pixels:
    """The pictures of a normalised clip: the inverse of `to_input`.

    Args:
        clip: float `1 3 T H W` or `3 T H W`.
        spec: with whose mean, std and colour order the clip was normalised.

    Returns:
        uint8 RGB `T H W 3`.
    """
    mean, std = (torch.tensor(v).view(3, 1, 1, 1) for v in (spec.mean, spec.std))
    pixels = (clip.detach().float().cpu().reshape(3, *clip.shape[-3:]) * std + mean) * 255
    if spec.colour == "bgr":
        pixels = pixels.flip(0)
    found: Pixels = pixels.round().clamp(0, 255).byte().permute(1, 2, 3, 0).contiguous().numpy()
    return found


class Film:
    """Frames with the times at which they are shown.

    Attributes:
        name: for messages.
        times: float64 [frames], seconds since the first frame, ascending.
        middles: float64 [frames], seconds, the middle of the time for which each frame is shown.
        duration: seconds from the beginning of the first frame to the end of the last one.
        clock: seconds of one tick of `stamps`.
        stamps: int64 [frames], the times in ticks, each later than the one before.
        end: ticks, when the last frame ends.
        width: of the upright frames, pixels.
        height: of the upright frames, pixels.
        stretch: by how much (horizontally, vertically) a player enlarges frames whose pixels are not square; at
            least 1.
    """

    def __init__(
        self, name: str, times: npt.NDArray[np.float64], duration: float, clock: Fraction, size: tuple[int, int],
        stretch: tuple[Fraction, Fraction] = (Fraction(1), Fraction(1)),
    ) -> None:  # fmt: skip
        self.name, self.times, self.duration, self.stretch = name, times, duration, stretch
        self.middles = (times + np.append(times[1:], duration)) / 2
        self.clock = clock
        self.stamps = _stamps(times, clock)
        self.end = max(round(duration / clock), int(self.stamps[-1]) + 1)
        self.width, self.height = size

    def __len__(self) -> int:
        return len(self.times)

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height as a player shows the frames, pixels."""
        return round(self.width * self.stretch[0]), round(self.height * self.stretch[1])

    def pictures(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Generator[tuple[int, Pixels], None, None]:
        """Upright frames, uint8 `height width 3`, with their indices, ascending, each once.

        Raises:
            UnreadableVideo: by the iterator: a frame is missing or damaged.
        """
        raise NotImplementedError

    def between(self, start: float, end: float) -> npt.NDArray[np.int64]:
        """Indices of the frames whose middles lie in [start, end), seconds; adjacent parts share and lose no frame."""
        first, last = np.searchsorted(self.middles, [start - 1e-9, end - 1e-9])
        return np.arange(first, last)

    def windows(self, seconds: float, start: float = 0.0, end: float | None = None) -> list[tuple[float, float]]:
        """Consecutive windows of time, `seconds` long, that hold every frame between two times once.

        A window in which no frame has its middle is left out, such as one within a picture that stands still.

        Args:
            seconds: of a window, above 0; the last one ends at `end`.
            start: seconds from the first frame.
            end: seconds; None is the end of the last frame.
        """
        end = self.duration if end is None else min(end, self.duration)
        seconds = min(seconds, max(end - start, 1e-9))
        numbers = np.unique(np.floor((self.middles[self.between(start, end)] - start + 1e-9) / seconds))
        return [(start + k * seconds, min(start + (k + 1) * seconds, end)) for k in numbers.tolist()]


class Source(Film):
    """A video file or folder of frames; use it in a `with` statement.

    On Linux the video is read by a separate process, so that a file that crashes or hangs the decoder raises an
    error.
    Elsewhere such a process takes seconds to start, and the video is read here.

    Args:
        video: its path.
        limits: what reading a few frames may cost.
        watch: called with the number of frames that `pictures` has given so far; what it raises ends the reading.

    Raises:
        UnreadableVideo: no frame can be read.
    """

    def __init__(
        self, video: str | Path, *, limits: ReadLimits | None = None, watch: Callable[[int], None] | None = None
    ) -> None:
        self._watch, self._given = watch, 0
        self._pieces = Pieces(str(video), source_clip, limits)
        try:
            (found,) = self._pieces.read([None])
            facts: Facts = found["facts"]
            clock = _exact(facts.times, facts.clock)
            super().__init__(str(video), facts.times, facts.duration, clock, facts.size, facts.stretch)
        except BaseException:
            self._pieces.close()
            raise

    def __enter__(self) -> Source:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pieces.close()

    def clip(self, spec: ClipSpec, *, start: float | None = None, end: float | None = None) -> tuple[Tensor, Place]:
        """As `source_clip`, read by the process that reads the frames."""
        size = 4 * 3 * spec.frames * spec.tested**2
        (found,) = self._pieces.read([ClipKey(spec, start, end)], size)
        return found["clip"], found["place"]

    def pictures(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Generator[tuple[int, Pixels], None, None]:
        """As for every film, decoded a few at a time."""
        order = np.unique(np.asarray(indices, np.int64))
        frame = self.width * self.height * 3
        step = max(1, _CHUNK // frame)
        chunks = [order[begin : begin + step].tolist() for begin in range(0, len(order), step)]
        with closing(self._pieces.read(chunks, step * frame)) as pieces:  # what is left early is given back at once
            for chunk, found in zip(chunks, pieces, strict=True):
                for index, picture in zip(chunk, found["frames"].numpy(), strict=True):
                    yield index, picture
                    self._given += 1
                    if self._watch is not None:
                        self._watch(self._given)


class ClipFilm(Film):
    """The frames of a clip that came without a video.

    Args:
        pixels: uint8 RGB `T H W 3`.
        rate: frames per second.
    """

    def __init__(self, pixels: Pixels, rate: int = 8) -> None:
        if pixels.ndim != 4 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8 or not len(pixels):
            raise KinemaError(f"a clip to draw on is uint8 T H W 3, but this is {pixels.dtype} {tuple(pixels.shape)}")
        self._pixels = pixels
        count, height, width = pixels.shape[:3]
        super().__init__("the clip", np.arange(count) / rate, count / rate, Fraction(1, rate), (width, height))

    def pictures(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Generator[tuple[int, Pixels], None, None]:
        """As for every film."""
        for index in np.unique(np.asarray(indices, np.int64)).tolist():
            yield index, self._pixels[index]


def _exact(times: npt.NDArray[np.float64], stated: Fraction | None) -> Fraction:
    """The coarsest of the known clocks whose ticks hit all times; the last one where none does."""
    clocks = [stated, *_CLOCKS] if stated and stated.denominator <= _FINEST else list(_CLOCKS)
    for clock in clocks:
        ticks = times / float(clock)
        if np.abs(ticks - np.round(ticks)).max() < 0.01:
            return clock
    return _CLOCKS[-1]


def _stamps(times: npt.NDArray[np.float64], clock: Fraction) -> npt.NDArray[np.int64]:
    """Times as ticks, each later than the one before: an encoder refuses two frames at once."""
    ticks = np.round((times - times[0]) / float(clock)).astype(np.int64)
    steps = np.arange(len(ticks))
    return np.maximum.accumulate(ticks - steps) + steps
