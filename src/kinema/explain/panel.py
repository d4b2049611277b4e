"""Panels: an explanation as a picture with a legend, and several panels side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from kinema.data.lettering import Colour, fitted, line_height, missing, width_of, wrapped, write
from kinema.errors import KinemaError
from kinema.explain.overlay import Timeline, colours, lay, scaled_box
from kinema.explain.source import Film, Pixels, Place

LARGEST = (4096, 2304)  # pixels of a whole picture: the limit of H.264 decoders of level 5.1
_LEGIBLE = 320  # pixels: narrower videos are enlarged by an integer factor, so that details and a legend are legible
_TALLEST = 720  # pixels up to which they are enlarged
_NARROWEST = 160  # pixels of a panel
_SMALLEST = 64  # pixels of the longer side of a picture
_PAPER, _INK, _FAINT, _WARNING = (24, 26, 32), (240, 240, 240), (170, 174, 184), (255, 176, 59)
_VERDICT = 2  # lines
_LETTERS = (12, 24)  # smallest and largest em, pixels
_GAP = 8  # pixels between panels
_INDENT = 4  # pixels of a legend
_UNSEEN = "outside the clip"
_WIDE_SCREEN = 16 / 9
_PROFILE = 200  # number of times at which the evidence over time is evaluated


@dataclass(frozen=True)
class Panel:
    """The content of a panel: one explanation.

    Attributes:
        explanation: an `Explanation`, or anything with its `method`, `label`, `target`, `layer`, `score`, `map` and
            `verdict`.
        place: position of the clip in the video.
        name: name of the recognizer if there are several; else empty.
    """

    explanation: Any
    place: Place
    name: str = ""

    @property
    def rows(self) -> int:
        """Number of lines of the legend, which does not depend on its width."""
        return 2 + bool(self.name) + (_VERDICT if self.explanation.verdict else 0)

    def lines(self, letters: int, width: int) -> list[tuple[str, str, Colour]]:
        """Returns the legend: class and score, method and layer, recognizer, verdict.

        Args:
            letters: pixels of an em.
            width: pixels of a line.

        Returns:
            Per line the text that fits, the whole text and the colour; at most `rows` lines.
        """
        e = self.explanation
        label = str(e.label)
        if missing([label]):
            label += f" (class {e.target})"  # identifies a class whose name is drawn as boxes
        score = "" if e.score is None else f"  {e.score:.2f}"
        layer = f" · {e.layer}" if e.layer else ""
        lines = [(label + score, _INK), (f"{e.method}{layer}", _FAINT)]
        if self.name:
            lines.append((self.name, _FAINT))
        legend = [(fitted(text, letters, width), text, colour) for text, colour in lines]
        if e.verdict:
            verdict = str(e.verdict)
            legend += [(line, verdict, _WARNING) for line in wrapped(verdict, letters, width, _VERDICT)]
        return legend


@dataclass(frozen=True)
class Layout:
    """Sizes and positions of panels.

    Attributes:
        columns: number of panels side by side.
        rows: number of rows of panels.
        picture: width and height of the video in a panel, in pixels.
        width: width of a panel in pixels, at least that of the picture.
        legend: height of the legend below it in pixels.
        lines: lines of text in the legend.
        letters: pixels of an em.
        size: width and height of the whole picture, even.
    """

    columns: int
    rows: int
    picture: tuple[int, int]
    width: int
    legend: int
    lines: int
    letters: int
    size: tuple[int, int]

    def corner(self, number: int) -> tuple[int, int]:
        """Returns left and top of a panel."""
        row, column = divmod(number, self.columns)
        return column * (self.width + _GAP), row * (self.picture[1] + self.legend + _GAP)


def arrange(shown: tuple[int, int], panels: int, lines: int, largest: tuple[int, int] = LARGEST) -> Layout:
    """Finds the layout with the largest pictures; among equal ones, the one closest to a wide screen.

    Args:
        shown: width and height of the video as a player shows it, in pixels.
        panels: number of panels.
        lines: number of lines of the longest legend.
        largest: largest width and height of the whole picture.

    Raises:
        KinemaError: there are too many panels for legible legends.
    """
    natural = float(max(1, min(math.ceil(_LEGIBLE / shown[0]), _TALLEST // shown[1])))
    best: tuple[float, float, Layout] | None = None
    for columns in range(1, panels + 1):
        scale = natural
        layout = _arranged(shown, panels, lines, columns, scale)
        while (layout.size[0] > largest[0] or layout.size[1] > largest[1]) and max(layout.picture) > _SMALLEST:
            scale *= 0.97
            layout = _arranged(shown, panels, lines, columns, scale)
        if layout.size[0] > largest[0] or layout.size[1] > largest[1]:
            continue
        shape = abs(math.log(layout.size[0] / layout.size[1] / _WIDE_SCREEN))
        if best is None or (scale, -shape) > (best[0], -best[1]):
            best = (scale, shape, layout)
    if best is None:
        raise KinemaError(f"{panels} pictures do not fit side by side: give fewer --method or --class values")
    return best[2]


def _arranged(shown: tuple[int, int], panels: int, lines: int, columns: int, scale: float) -> Layout:
    picture = (max(1, round(shown[0] * scale)), max(1, round(shown[1] * scale)))
    panel = max(picture[0], _NARROWEST)
    letters = min(_LETTERS[1], max(_LETTERS[0], round(panel / 36)))
    legend = lines * line_height(letters) + 2 * line_height(letters) + letters // 2
    rows = math.ceil(panels / columns)
    width = columns * (panel + _GAP) - _GAP
    height = rows * (picture[1] + legend + _GAP) - _GAP
    return Layout(columns, rows, picture, panel, legend, lines, letters, (width + width % 2, height + height % 2))


class Board:
    """Draws panels, frame by frame.

    Args:
        film: the video.
        panels: the panels to show side by side.
        layout: their sizes and positions.
        span: start and end of the shown part in seconds.
    """

    def __init__(self, film: Film, panels: Sequence[Panel], layout: Layout, span: tuple[float, float]) -> None:
        self._layout, self._film, self._span = layout, film, span
        size = (film.width, film.height)
        self._boxes = [scaled_box(panel.place.box, size, layout.picture) for panel in panels]
        self._timelines = [_timeline(panel, film) for panel in panels]
        self._profiles = [_profile(line, film, span) for line in self._timelines]
        self._paper = self._drawn_once(panels)
        self._badge = _badge(layout)

    def draw(self, index: int, picture: Pixels) -> Pixels:
        """Returns the whole picture at a frame of the video.

        Args:
            index: index of the frame.
            picture: the upright frame, uint8 `height width 3`.

        Returns:
            uint8 `H W 3` of the layout's size.
        """
        canvas = self._paper.copy()
        shown = resized(picture, self._layout.picture)
        height, width = shown.shape[:2]
        for number, (line, box) in enumerate(zip(self._timelines, self._boxes, strict=True)):
            left, top = self._layout.corner(number)
            plane = None if line is None else line.at(index)
            canvas[top : top + height, left : left + width] = lay(shown, plane, box)
            if line is not None and plane is None:
                badge = self._badge[:height, :width]
                canvas[top : top + badge.shape[0], left : left + badge.shape[1]] = badge
            self._point_at(canvas, number, float(self._film.times[index]))
        return canvas

    def _drawn_once(self, panels: Sequence[Panel]) -> Pixels:
        """Draws legends, scales and the evidence over time."""
        layout = self._layout
        image = Image.new("RGB", layout.size, _PAPER)
        step, width = line_height(layout.letters), layout.width
        for number, panel in enumerate(panels):
            left, top = layout.corner(number)
            y = top + layout.picture[1] + layout.letters // 4
            for text, _, colour in panel.lines(layout.letters, width - 2 * _INDENT)[: layout.lines]:
                write(image, (left + _INDENT, y), text, layout.letters, colour)
                y += step
            if self._timelines[number] is not None:
                self._scale(image, number)
        return np.asarray(image).copy()

    def _strip(self, number: int) -> tuple[int, int, int, int]:
        """Returns left, top, width and height of the evidence over time, the second-to-last line of a legend."""
        left, top = self._layout.corner(number)
        step = line_height(self._layout.letters)
        bottom = top + self._layout.picture[1] + self._layout.legend
        return left, bottom - 2 * step, self._layout.width, step

    def _scale(self, image: Image.Image, number: int) -> None:
        letters = self._layout.letters
        left, top, width, height = self._strip(number)
        draw = ImageDraw.Draw(image)
        profile = self._profiles[number]
        for x in range(width):
            value = profile[min(len(profile) - 1, x * len(profile) // width)]
            if np.isfinite(value):
                tall = max(1, round(float(value) * (height - 4)))
                draw.line((left + x, top + height - tall, left + x, top + height - 1), fill=_FAINT)
        words = ("less", "more evidence")
        room = [width_of(word, letters) for word in words]
        bar = width - sum(room) - letters - 2 * _INDENT
        y = top + height
        if bar >= 2 * letters:
            x = left + _INDENT
            write(image, (x, y), words[0], letters, _FAINT)
            x += room[0] + letters // 2
            ramp = np.repeat(colours()[np.linspace(0, 255, bar).astype(int)][None], letters // 2, axis=0)
            image.paste(Image.fromarray(ramp), (x, y + letters // 2))
            write(image, (x + bar + letters // 2, y), words[1], letters, _FAINT)

    def _point_at(self, canvas: Pixels, number: int, time: float) -> None:
        """Draws a mark at the current time."""
        if self._timelines[number] is None:
            return
        left, top, width, height = self._strip(number)
        start, end = self._span
        x = left + min(width - 1, max(0, int(width * (time - start) / max(end - start, 1e-9))))
        canvas[top : top + height, max(left, x - 1) : x + 1] = _INK


def _badge(layout: Layout) -> Pixels:
    """Draws the text in the corner of a frame outside the clip."""
    size = (width_of(_UNSEEN, layout.letters) + layout.letters, line_height(layout.letters))
    image = Image.new("RGB", size, _PAPER)
    write(image, (layout.letters // 2, 0), _UNSEEN, layout.letters, _FAINT)
    return np.asarray(image)


def resized(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """Resizes a picture: by repeating pixels for integer factors, else with smoothing.

    Args:
        picture: uint8 `H W 3`.
        size: width and height.
    """
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    whole = size[0] % width == 0 and size[1] % height == 0
    way = Image.Resampling.NEAREST if whole else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size, way))


def _timeline(panel: Panel, film: Film) -> Timeline | None:
    evidence = panel.explanation.map
    return None if evidence is None else Timeline(evidence, panel.place.frames, film, panel.place.span)


def _profile(line: Timeline | None, film: Film, span: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Returns the mean of the map at evenly spaced times, scaled to a maximum of 1; NaN where there is no map."""
    if line is None:
        return np.full(1, np.nan, np.float32)
    at = span[0] + (np.arange(_PROFILE) + 0.5) * (span[1] - span[0]) / _PROFILE
    indices = np.maximum(np.searchsorted(film.times, at, side="right") - 1, 0)
    planes = [line.at(int(index)) for index in indices]
    means = np.array([np.nan if plane is None else plane.mean() for plane in planes], np.float32)
    top = np.nanmax(means) if np.isfinite(means).any() else 0.0
    return means / top if top > 0 else means
