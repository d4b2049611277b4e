"""Writing of explanations with their video to a file: MP4, GIF, PNG, SVG or JSON, complete or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kinema.data.lettering import warn_of_missing
from kinema.data.video_writer import GIF_WIDTH, gif_times, write_gif, write_mp4
from kinema.errors import KinemaError, UnreadableVideo
from kinema.explain.panel import Board, Layout, Panel, arrange
from kinema.explain.sheet import contact_sheet, write_png, write_svg
from kinema.explain.source import ClipFilm, Film, Pixels, Place, Source
from kinema.files import replace_file
from kinema.text import printable

FORMATS = ("mp4", "gif", "png", "svg", "json")
_DRAWN = ("mp4", "gif", "png")  # formats whose text is drawn here

Span = tuple[float, float]  # start and end, seconds
PanelsOf = Callable[[Span], Sequence[Panel]]


def format_of(path: str | Path) -> str:
    """Returns the format of a file name by its suffix, ignoring case.

    Raises:
        KinemaError: there is no suffix, or it is not that of a supported format.
    """
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        endings = f".{', .'.join(FORMATS[:-1])} or .{FORMATS[-1]}"
        what = f".{suffix}" if suffix else "a file without a suffix"
        raise KinemaError(f"{path}: cannot be written as {what}; end the name in {endings}")
    return suffix


def write_explanations(path: str | Path, film: Film, spans: Sequence[Span], panels_of: PanelsOf) -> None:
    """Writes explanations of a video, one part after another, with only one part in memory.

    Args:
        path: the file; its suffix determines the format. An existing file is replaced in one step.
        film: the video.
        spans: consecutive parts of the video, in seconds; a PNG or SVG shows only one.
        panels_of: called with each span in turn; returns the panels to show side by side, always the same number.

    Raises:
        KinemaError: the format is not supported, a sheet has several parts, or there are too many panels.
        RunError: the file cannot be written.
        UnreadableVideo: a frame of the video cannot be read.
    """
    path, kind = Path(path), format_of(path)
    if kind in ("png", "svg") and len(spans) > 1:
        raise KinemaError(f"{path}: a sheet shows one part of a video; for windows write .mp4, .gif or .json")
    writers = {"mp4": _mp4, "gif": _gif, "png": _sheet, "svg": _sheet, "json": _json}
    if kind in _DRAWN:
        panels_of = _noted(panels_of)
    replace_file(path, partial(writers[kind], kind=kind, film=film, spans=spans, panels_of=panels_of))


def save(
    explanations: Sequence[Any], path: str | Path, place: Place | None = None, *, video: str | Path | None = None,
    pixels: Pixels | None = None,
) -> None:  # fmt: skip
    """Writes explanations of one clip, side by side, over its video or over the frames of the clip itself.

    Args:
        explanations: one or several `Explanation`s of the same clip.
        path: the file; its suffix determines the format.
        place: position of the clip in the video.
        video: a video file or a folder of frames; needs `place`.
        pixels: uint8 `T H W 3`, the frames of the clip, if there is no video.

    Raises:
        KinemaError: there is neither a video with a place nor pixels, or the format is not supported.
        RunError: the file cannot be written.
        UnreadableVideo: a frame of the video cannot be read.
    """
    if video is not None and place is not None:
        with Source(video) as film:
            panels = [Panel(explanation, place) for explanation in explanations]
            write_explanations(path, film, [(0.0, film.duration)], lambda span: panels)
        return
    if pixels is None:
        raise KinemaError(
            f"{path}: there are no frames to draw on; give the video with the place of the clip, or pixels"
        )
    clip = ClipFilm(pixels)
    whole = Place(tuple(range(len(clip))), (0, 0, clip.width, clip.height), (0.0, clip.duration))
    panels = [Panel(explanation, whole) for explanation in explanations]
    write_explanations(path, clip, [whole.span], lambda span: panels)


def _noted(panels_of: PanelsOf) -> PanelsOf:
    """Says once which letters cannot be drawn."""
    said = False

    def noted(span: Span) -> Sequence[Panel]:
        nonlocal said
        panels = panels_of(span)
        if not said:
            said = bool(warn_of_missing(str(panel.explanation.label) for panel in panels))
        return panels

    return noted


class _Parts:
    """The pictures of a video with its explanations, part by part.

    The layout is that of the first part, which is explained immediately.
    """

    def __init__(self, film: Film, spans: Sequence[Span], panels_of: PanelsOf) -> None:
        self._film, self._spans, self._panels_of = film, spans, panels_of
        self._first: Sequence[Panel] | None = panels_of(spans[0])
        lines = max(panel.rows for panel in self._first)
        self.layout: Layout = arrange(film.shown_size, len(self._first), lines)
        self.indices = np.concatenate([film.between(*span) for span in spans])
        if not len(self.indices):
            raise UnreadableVideo(film.name, "no frame lies in the requested part")
        last = int(self.indices[-1])
        self.stamps = film.stamps[self.indices] - film.stamps[self.indices[0]]
        after = int(film.stamps[last + 1]) if last + 1 < len(film) else film.end
        self.end = after - int(film.stamps[self.indices[0]])

    def pictures(self, kept: set[int] | None = None) -> Generator[Pixels, None, None]:
        """Yields one picture for every frame, or for every frame whose index is in `kept`."""
        for span in self._spans:
            board = self._board(span)
            indices = self._film.between(*span)
            wanted = indices if kept is None else [i for i in indices.tolist() if i in kept]
            with closing(self._film.pictures(wanted)) as pictures:
                for index, picture in pictures:
                    yield board.draw(index, picture)
            del board  # before the next part is explained

    def _board(self, span: Span) -> Board:
        panels, self._first = self._first, None
        if panels is None:
            panels = self._panels_of(span)
        if len(panels) > self.layout.columns * self.layout.rows:
            raise ValueError(f"{len(panels)} panels for {span}, in a layout for fewer: give each part the same number")
        return Board(self._film, panels, self.layout, span)


def _mp4(part: Path, kind: str, film: Film, spans: Sequence[Span], panels_of: PanelsOf) -> None:
    parts = _Parts(film, spans, panels_of)
    with closing(parts.pictures()) as pictures:
        write_mp4(part, pictures, stamps=parts.stamps, end=parts.end, clock=film.clock, size=parts.layout.size)


def _gif(part: Path, kind: str, film: Film, spans: Sequence[Span], panels_of: PanelsOf) -> None:
    parts = _Parts(film, spans, panels_of)
    places, times, end = gif_times(parts.stamps, parts.end, film.clock)
    width, height = parts.layout.size
    share = min(1.0, GIF_WIDTH * parts.layout.columns / width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    with closing(parts.pictures({int(parts.indices[place]) for place in places})) as pictures:
        write_gif(part, (_shrunk(picture, size) for picture in pictures), times=times, end=end, size=size)


def _shrunk(picture: Pixels, size: tuple[int, int]) -> Pixels:
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def _sheet(part: Path, kind: str, film: Film, spans: Sequence[Span], panels_of: PanelsOf) -> None:
    panels = panels_of(spans[0])
    drawing = getattr(getattr(panels[0].explanation, "result", None), "svg", None) if len(panels) == 1 else None
    if kind == "svg" and callable(drawing):  # a method with its own drawing, such as a pyramid
        part.write_text(drawing(warning=panels[0].explanation.verdict), encoding="utf-8")
        return
    sheet = contact_sheet(film, panels)
    (write_png if kind == "png" else write_svg)(part, sheet)


def _json(part: Path, kind: str, film: Film, spans: Sequence[Span], panels_of: PanelsOf) -> None:
    found: list[dict[str, Any]] = []
    for span in spans:
        found += [facts(film, panel) for panel in panels_of(span)]
    width, height = film.shown_size
    document = {
        "video": printable(film.name), "width": width, "height": height, "frames": len(film),
        "duration": film.duration, "explanations": found,
    }  # fmt: skip
    part.write_text(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def facts(film: Film, panel: Panel) -> dict[str, Any]:
    """Returns the facts of one explanation as plain values for JSON.

    Returns:
        The result of `Explanation.to_dict`, with `recognizer` (if several are shown), `frames` and `times` (seconds) of
        the clip, `box` (left, top, width, height, in pixels of the upright frame), `span` (seconds), `evidence` (the
        mean of the map at every frame of the clip) and, if the method returns a graph, `graph` (see
        `Pyramid.from_json`).
    """
    evidence, place = panel.explanation.map, panel.place
    more: dict[str, Any] = {
        "frames": list(place.frames),
        "times": [float(film.times[i]) for i in place.frames],
        "box": list(place.box),
        "span": list(place.span),
        "evidence": None if evidence is None else [float(value) for value in evidence.float().mean((1, 2))],
    }
    graph = getattr(getattr(panel.explanation, "result", None), "to_json", None)
    if callable(graph):
        more["graph"] = json.loads(graph())
    return {**panel.explanation.to_dict(), **({"recognizer": panel.name} if panel.name else {}), **more}
