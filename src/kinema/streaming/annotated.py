"""A video with its segments: the current label below the picture, and a bar of the whole video."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from kinema.data.lettering import Colour, fitted, line_height, missing, warn_of_missing, write
from kinema.data.video import FrameFolder, VideoReader, open_video
from kinema.data.video_writer import Pixels, write_mp4
from kinema.errors import KinemaError, UnreadableVideo
from kinema.files import replace_file
from kinema.streaming.segments import Segment
from kinema.streaming.timelines import Timeline

_CLOCK = Fraction(1, 90_000)  # seconds per tick; divides the frame intervals of all common rates
_NARROWEST = 320  # pixels; a smaller picture is enlarged to make labels legible
_CHUNK = 8  # frames that are kept in memory at once
_GROUND, _QUIET, _LOST = (24, 24, 28), (70, 70, 78), (120, 40, 40)
_WHITE, _GREY = (245, 245, 245), (150, 150, 158)


def write_annotated(
    file: Path, found: Timeline, labels: Sequence[str], *, progress: Callable[[float, float], None] | None = None
) -> None:
    """Writes a video with its segments as H.264 in MP4, every frame at its own time.

    Below the picture are the label and the score of the current segment, or "no action", and a bar of the
    whole video with its segments, one colour per label, and the parts that could not be read in dark red. A frame that
    cannot be read repeats the previous one.

    Args:
        file: the MP4 file; an existing one is replaced in one step.
        found: the timeline of a video that could be read.
        labels: labels of the recognizer; their order determines the colours.
        progress: called with the seconds that are written and the duration; an exception that it raises ends the work.

    Raises:
        KinemaError: the video could not be read.
        UnreadableVideo: the video can no longer be opened.
        RunError: the file cannot be written.

    Warns:
        KinemaWarning: no installed font has the letters of a label that is shown.
    """
    if found.duration is None:
        raise KinemaError(f"{found.path}: there is nothing to show, since the film cannot be read ({found.error})")
    warn_of_missing(segment.label for segment in found.segments)
    with open_video(found.path) as reader:
        count = len(reader)
        steps = np.arange(count)
        ticks = np.round(reader.times / float(_CLOCK)).astype(np.int64) - steps
        stamps = np.maximum.accumulate(ticks) + steps  # each later than the previous one
        end = max(round(reader.duration / _CLOCK), int(stamps[-1]) + 1)
        board = _Board(found, labels, reader.info.width, reader.info.height)

        def pictures() -> Iterator[Pixels]:
            for frame, time in zip(_frames(reader), reader.times.tolist(), strict=True):
                if progress is not None:
                    progress(time, reader.duration)
                yield board.picture(frame, time)

        def fill(part: Path) -> None:
            write_mp4(part, pictures(), stamps=stamps, end=end, clock=_CLOCK, size=board.size)

        replace_file(file, fill)


def _frames(reader: VideoReader | FrameFolder) -> Iterator[Pixels]:
    """Yields all frames in order. An unreadable frame repeats the previous one; at the beginning it is black."""
    last: Pixels = np.zeros((reader.info.height, reader.info.width, 3), np.uint8)
    for first in range(0, len(reader), _CHUNK):
        numbers = range(first, min(first + _CHUNK, len(reader)))
        there: dict[int, Pixels] = {}
        try:
            for number, picture in reader.frames(list(numbers)):
                there[number] = picture.copy()
        except UnreadableVideo:
            pass  # `Timeline.lost` and the bar show what is missing
        for number in numbers:
            last = there.get(number, last)
            yield last


class _Board:
    """Draws the strip below the frames of one video."""

    def __init__(self, found: Timeline, labels: Sequence[str], width: int, height: int) -> None:
        self._found, self._duration = found, max(found.duration or 0.0, 1e-6)
        self._colours = {label: _colour(i) for i, label in enumerate(labels)}
        # The number of a class says what boxes stand for.
        self._names = {
            label: f"{label} (class {i})" if missing([label]) else label
            for i, label in enumerate(labels)
            if any(segment.label == label for segment in found.segments)
        }
        factor = max(1, -(-_NARROWEST // width))
        self._width, self._height = width * factor, height * factor
        self._text = max(14, self._width // 28)
        self._bar = max(8, self._text // 2)
        self._pad = self._text // 2
        strip = line_height(self._text) + self._bar + 3 * self._pad
        self.size = (self._width + self._width % 2, self._height + strip + (self._height + strip) % 2)
        self._empty = self._draw_bar()

    def picture(self, frame: NDArray[np.uint8], time: float) -> Pixels:
        """Returns a frame with the strip of its time."""
        image = self._empty.copy()
        shown = Image.fromarray(frame)
        if shown.size != (self._width, self._height):
            shown = shown.resize((self._width, self._height), Image.Resampling.BICUBIC)
        image.paste(shown, (0, 0))
        now = next((s for s in self._found.segments if s.t_start <= time < s.t_end), None)
        at, room = (self._pad, self._height + self._pad), self._width - 2 * self._pad
        if now is None:
            write(image, at, "no action", self._text, _GREY)
        else:
            score = f"  {now.score:.2f}"
            label = fitted(self._names[now.label], self._text, max(self._text, room - self._text * len(score) // 2))
            write(image, at, label + score, self._text, self._colours[now.label])
        x = self._place(time)
        top = self._bar_top - 3
        ImageDraw.Draw(image).line([(x, top), (x, self._bar_top + self._bar + 2)], fill=_WHITE, width=2)
        return np.asarray(image)

    @property
    def _bar_top(self) -> int:
        return self._height + line_height(self._text) + 2 * self._pad

    def _place(self, time: float) -> int:
        return self._pad + round(min(time / self._duration, 1.0) * (self._width - 2 * self._pad - 1))

    def _draw_bar(self) -> Image.Image:
        image = Image.new("RGB", self.size, _GROUND)
        draw = ImageDraw.Draw(image)
        top, bottom = self._bar_top, self._bar_top + self._bar - 1

        def stretch(part: Segment | None, start: float, end: float, colour: Colour) -> None:
            left, right = self._place(start), self._place(end)
            gap = 1 if part is not None and right - left > 2 else 0  # so that adjacent segments can be told apart
            draw.rectangle([left, top, right - gap, bottom], fill=colour)

        stretch(None, 0.0, self._duration, _QUIET)
        for lost in self._found.lost:
            stretch(None, lost.t_start, lost.t_end, _LOST)
        for segment in self._found.segments:
            stretch(segment, segment.t_start, segment.t_end, self._colours[segment.label])
        return image


def _colour(number: int) -> Colour:
    """Returns a light colour; colours of consecutive numbers differ strongly."""
    hue = (0.08 + 0.618034 * number) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.55, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)
