"""What the tabs do with a visitor's upload: each function calls the library and stores files in the session."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kinema.data.findings import Finding
from kinema.errors import KinemaError
from kinema.explain.files import Question, explain_video
from kinema.media.conversion import Converted, convert
from kinema.media.limits import UploadLimits, check_file
from kinema.media.sessions import Session
from kinema.recognizer import Recognizer
from kinema.streaming.annotated import write_annotated
from kinema.streaming.timelines import Timeline, find_segments, settled
from kinema.streaming.tracks import Track, read_track
from kinema.tables import csv_text
from kinema.text import printable


@dataclass(frozen=True)
class Upload:
    """A visitor's video.

    Attributes:
        name: as the visitor knows it, printable.
        file: what was sent, in the session's folder.
        shown: the same as MP4 for the browser.
        facts: of `shown`.
    """

    name: str
    file: Path
    shown: Path
    facts: Converted


@dataclass(frozen=True)
class Recognised:
    """What the Recognise tab shows.

    Attributes:
        name: of the video.
        line: its segments.
        track: its scores over time.
        video: the video with its labels.
        tables: the segments as CSV and JSON.
    """

    name: str
    line: Timeline
    track: Track
    video: Path
    tables: tuple[Path, Path]


def take(sent: Path, session: Session, limits: UploadLimits, *, name: str) -> Upload:
    """Moves an upload into the session's folder and converts it.

    Args:
        sent: where the server stored it; it is not there afterwards.
        session: of the visitor.
        limits: of uploads.
        name: that the visitor gave it.

    Raises:
        UnreadableVideo: it is refused, or nothing of it can be decoded.
    """
    shown_name = printable(Path(name).name)[:80] or "video"
    try:
        suffix = check_file(sent, limits, name=shown_name)
        file = session.place(suffix, shown_name)
        shutil.move(sent, file)
    finally:
        sent.unlink(missing_ok=True)
    shown = session.place(".mp4", f"{Path(shown_name).stem}.mp4")
    try:
        facts = convert(file, shown, limits, name=shown_name)
    except KinemaError:
        file.unlink(missing_ok=True)
        raise
    return Upload(shown_name, file, shown, facts)


def recognise(recognizer: Recognizer, upload: Upload, session: Session) -> Recognised:
    """The scores over time, the segments, and the video with its labels.

    The original is read, in a process of its own; the picture with the labels is made from the converted video.

    Raises:
        UnreadableVideo: no part of it can be read.
    """
    # Where the card does not state the spacing of frames, windows of two seconds stand in for what a clip spans.
    window = None if recognizer.rate is not None else min(2.0, upload.facts.seconds)
    settings = settled(recognizer, window=window)
    assert settings.sight is not None
    track = read_track(recognizer, upload.file, settings.sight, workers=1)
    segments = find_segments(track, recognizer.labels, settings)
    line = Timeline(upload.name, segments, track.duration, track.lost)
    stem = Path(upload.name).stem
    video = session.place(".mp4", f"{stem} with labels.mp4")
    write_annotated(video, replace(line, path=str(upload.shown)), recognizer.labels)
    table, document = session.place(".csv", f"{stem}.csv"), session.place(".json", f"{stem}.json")
    rows = [[upload.name, s.label, f"{s.t_start:.3f}", f"{s.t_end:.3f}", f"{s.score:.4f}"] for s in segments]
    table.write_text(csv_text(["path", "label", "start", "end", "score"], rows), encoding="utf-8")
    document.write_text(json.dumps(line.to_dict(), indent=2, ensure_ascii=False), encoding="utf-8")
    return Recognised(upload.name, line, track, video, (table, document))


def why(
    recognizers: Mapping[str, Recognizer], upload: Upload, session: Session, *, names: list[str], methods: list[str],
    target: str, start: float | None, end: float | None,
) -> tuple[Path, list[dict[str, Any]]]:  # fmt: skip
    """The overlay of one or several methods and recognizers, side by side.

    Args:
        recognizers: by the names that the page shows.
        upload: the video; its converted form is explained, since it is decoded in this process.
        session: of the visitor.
        names: of the recognizers to show.
        methods: names of explanation methods.
        target: `top`, or a class.
        start: seconds, None for the beginning.
        end: seconds, None for the end.

    Returns:
        The video, and one dict of facts per explanation (see `kinema.explain.write.facts`).

    Raises:
        KinemaError: a class, method or part of the video that does not exist.
    """
    if not names or not methods:
        raise KinemaError("recognizer and method: choose at least one of each")
    chosen = [(name, recognizers[name]) for name in names if name in recognizers]
    file = session.place(".mp4", f"{Path(upload.name).stem} {' '.join(methods)}.mp4")
    facts = explain_video(chosen, upload.shown, file, Question(tuple(methods), target, None, start, end))
    return file, facts


def top_classes(track: Track, labels: tuple[str, ...] | list[str], most: int = 5) -> list[tuple[str, list[float]]]:
    """The classes that reach the highest scores at any time, with their scores over time, the highest first."""
    peaks = track.scores.max(0)
    order = peaks.argsort()[::-1][:most]
    return [(labels[int(i)], [float(score) for score in track.scores[:, int(i)]]) for i in order]


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Paths by the shortest endings that tell them apart, so that visitors do not see the folders of the server.

    Args:
        paths: of recognizers or data sets, each once; a last part `recognizer` is left out where a folder is above it.
    """
    parts = {path: [part for part in Path(printable(path)).parts if part not in ("/", ".", "..")] for path in paths}
    for path, listed in parts.items():
        if len(listed) > 1 and listed[-1] == "recognizer":
            parts[path] = listed[:-1]
    names: dict[str, str] = {}
    for path, listed in parts.items():
        for count in range(1, len(listed) + 1):
            name = "/".join(listed[-count:])
            if sum(other[-count:] == listed[-count:] for other in parts.values()) == 1:
                break
        else:
            name = printable(path)
        names[name] = path
    return names


def by_severity(findings: tuple[Finding, ...]) -> dict[str, list[Finding]]:
    """Findings of the doctor, errors apart from warnings."""
    return {name: [f for f in findings if f.severity == name] for name in ("error", "warning")}
