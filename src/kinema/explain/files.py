"""Explanations of many videos as files: one file per video; a video that cannot be read costs its own file only."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinema.errors import KinemaError, UnreadableVideo
from kinema.explain import DEFAULT_METHOD
from kinema.explain.explanation import explain
from kinema.explain.methods import Layers, layer_of
from kinema.explain.panel import Panel
from kinema.explain.source import Source
from kinema.explain.write import FORMATS, Span, facts, format_of, write_explanations
from kinema.files import look_up, reason
from kinema.recognizer import Recognizer

_LONGEST = 200  # bytes of a name: file systems allow 255, and a file that is being written has a longer name


Progress = Callable[[float, float], None]  # units that are done, and their number


@dataclass(frozen=True)
class Question:
    """The request for every video.

    Attributes:
        methods: names of explanation methods; each gives panels of its own.
        target: `top`, `top3`, the name of a class or its number.
        layer: name of a layer, or method -> layer; None is the default of the method and the network.
        start: of the part to explain and show, in seconds from the first frame; None is the beginning.
        end: of the part, in seconds; None is the end.
        window: seconds; the part is then explained window by window. None explains one clip for all of it.
    """

    methods: tuple[str, ...] = (DEFAULT_METHOD,)
    target: str | int = "top"
    layer: Layers = None
    start: float | None = None
    end: float | None = None
    window: float | None = None

    def __post_init__(self) -> None:
        if self.window is not None and not self.window > 0:
            raise KinemaError(f"--window {self.window:g}: give seconds above 0")
        if self.start is not None and not self.start >= 0:
            raise KinemaError(f"--start {self.start:g}: give seconds from 0 on")
        if self.end is not None and not self.end > (self.start or 0):
            raise KinemaError(f"--end {self.end:g}: give seconds above {self.start or 0:g}, where the part starts")

    def spans(self, film: Source) -> list[Span]:
        """The parts of a film that are explained one after another, seconds.

        Raises:
            UnreadableVideo: no frame lies in the part.
        """
        start, end = self.start or 0.0, min(self.end or film.duration, film.duration)
        spans = [(start, end)] if self.window is None else film.windows(self.window, start, end)
        if start >= end or not any(len(film.between(*span)) for span in spans):
            part = f"{start:g} s to {'the end' if self.end is None else f'{self.end:g} s'}"
            raise UnreadableVideo(film.name, f"no frame from {part}, the video lasts {film.duration:.2f} s")
        return spans


@dataclass(frozen=True)
class Answer:
    """The result for one video.

    Attributes:
        video: its path.
        file: that was written, or None.
        facts: one dict of plain values per explanation, as `write.facts` gives them.
        error: why there is no file, without the path, or None.
    """

    video: str
    file: Path | None
    facts: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None


def explain_video(
    recognizers: Sequence[tuple[str, Recognizer]], video: str | Path, file: Path, question: Question,
    *, explained: Progress | None = None, written: Progress | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Explains one video and writes one file.

    Args:
        recognizers: a name and a recognizer each, shown side by side; the names stand in the legend where there are
            several.
        video: a video file or a folder of frames.
        file: its suffix chooses the format.
        question: what is asked.
        explained: called with the explanations that are computed and their number; what it raises ends the work.
        written: called with the frames that are written and their number; what it raises ends the work, and no file is
            left.

    Returns:
        One dict of plain values per explanation.

    Raises:
        UnreadableVideo: no clip can be read, or a frame that is shown is missing.
        KinemaError: a class, layer, method or format that does not exist.
        RunError: the file cannot be written.
    """
    found: list[dict[str, Any]] = []
    frames = 0

    def drawn(count: int) -> None:
        if written is not None:
            written(count, frames)

    with Source(video, watch=drawn) as film:
        spans = question.spans(film)
        frames = sum(len(film.between(*span)) for span in spans)
        asked, done = len(spans) * len(recognizers) * len(question.methods), 0
        whole = len(spans) == 1 and question.start is None and question.end is None

        def panels_of(span: Span) -> list[Panel]:
            nonlocal done
            panels = []
            for name, recognizer in recognizers:
                start, end = (None, None) if whole else span
                clip, place = film.clip(recognizer.spec, start=start, end=end)
                for method in question.methods:
                    answers = explain(
                        recognizer, clip.to(recognizer.device), method=method, target=question.target,
                        layer=layer_of(question.layer, method),
                    )  # fmt: skip
                    panels += [Panel(e, place, name if len(recognizers) > 1 else "") for e in answers]
                    done += 1
                    if explained is not None:
                        explained(done, asked)
            found.extend(facts(film, panel) for panel in panels)
            return panels

        write_explanations(file, film, spans, panels_of)
    return found


def explain_videos(
    recognizers: Sequence[tuple[str, Recognizer]], videos: Sequence[str], files: Sequence[Path], question: Question
) -> Iterator[Answer]:
    """Explains videos one after another; a video that cannot be read gives an answer with the reason.

    Args:
        recognizers: as for `explain_video`.
        videos: video files or folders of frames.
        files: one per video, as from `places`.
        question: what is asked.

    Yields:
        An answer per video, in order.

    Raises:
        KinemaError: a class, layer, method or format that does not exist.
        RunError: a file cannot be written.
    """
    for video, file in zip(videos, files, strict=True):
        try:
            yield Answer(video, file, explain_video(recognizers, video, file, question))
        except UnreadableVideo as error:
            yield Answer(video, None, error=error.reason)


def places(videos: Sequence[str], out: str | Path, form: str | None = None) -> list[Path]:
    """The file for each video, after a check that it can be written there.

    Args:
        videos: video files or folders of frames.
        out: the file for a single video, or a folder, in which files get the names of the videos; two videos of one
            name get `NAME.mp4` and `NAME-2.mp4`.
        form: format of the files in a folder; None is MP4 there, and what the suffix of a file says.

    Raises:
        KinemaError: a format that is not written, one file for several videos, a place that cannot be written, or the
            file of a video itself.
    """
    out = Path(out)
    if form is not None:
        format_of(f"--format .{form.lower()}")
    there = _looked_up(out)
    if form is None and not (there and out.is_dir()) and out.suffix:
        format_of(out)
        if len(videos) > 1:
            raise KinemaError(f"{out}: one file cannot hold {len(videos)} videos; give a folder to --out")
        files = [out]
    else:
        if there and not out.is_dir():
            raise KinemaError(f"{out}: is a file; give a folder to --out, or end the name in .{' or .'.join(FORMATS)}")
        files = [out / name for name in _names(videos, (form or "mp4").lower())]
    _require_writable(files[0].parent)
    for file in files:
        if _looked_up(file) and file.is_dir():
            raise KinemaError(f"{file}: is a folder; give another name to --out")
        for video in videos:
            if _same(file, Path(video)):
                raise KinemaError(f"{file}: is the video itself; give another path to --out")
    return files


def _names(videos: Sequence[str], form: str) -> list[str]:
    taken: set[str] = set()
    names = []
    for video in videos:
        path = Path(video).absolute()
        stem = (path.name if path.is_dir() else path.stem) or "video"
        while len(stem.encode("utf-8", "backslashreplace")) > _LONGEST:
            stem = stem[:-1]
        name, number = f"{stem}.{form}", 1
        while name.casefold() in taken:  # file systems may not tell capitals apart
            number += 1
            name = f"{stem}-{number}.{form}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _looked_up(path: Path) -> bool:
    try:
        return look_up(path) is not None
    except (OSError, ValueError) as error:
        raise KinemaError(f"{path}: {reason(error)}") from error


def _require_writable(folder: Path) -> None:
    """Refuses a folder before anything is computed for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise KinemaError(f"{folder}: cannot be written ({error.strerror}); choose another folder for --out") from error


def _same(file: Path, video: Path) -> bool:
    try:
        return file.samefile(video)
    except (OSError, ValueError):  # one of them is not there
        return False
