"""The state of the tab Label: a folder of videos, the open video, the marks of a segment, and the stored segments."""

from __future__ import annotations

import math
import os
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from kinema.annotation.segments import SegmentTable, tidy
from kinema.data.labels import read_label_file
from kinema.data.sources import LABELS, Sample, clean_label
from kinema.data.video_search import find_videos
from kinema.errors import KinemaError, unknown
from kinema.files import is_folder
from kinema.streaming.segments import Segment
from kinema.text import plural

COMMANDS = {
    " ": "play", "i": "start", "o": "end", "u": "undo", "n": "next", "p": "previous", "s": "suggest", "a": "accept",
}  # fmt: skip
KEYS = "1234567890" + "".join(letter for letter in string.ascii_lowercase if letter not in COMMANDS)

Item = TypeVar("Item")


@dataclass(frozen=True)
class Marks:
    """The marks of the next segment.

    Attributes:
        start: seconds from the first frame; None is the beginning of the video.
        end: seconds from the first frame; None is the end of the video.
        editing: the row that the next label replaces; None if it adds a row.
    """

    start: float | None = None
    end: float | None = None
    editing: Sample | None = None


@dataclass(frozen=True)
class _Step:
    """One step that can be undone: the change of the table to revert, and the state of the page before it."""

    back: Callable[[], tuple[Sample, ...]] | None
    video: str
    marks: Marks


class LabelDesk:
    """Labels the videos of a folder, one after the other.

    Every action that changes a segment updates the file immediately. A label without marks applies to the whole video;
    with one mark, it extends to the beginning or the end. An action that is not possible raises a `KinemaError` and
    changes nothing.

    Args:
        folder: searched for videos and folders of frames, at any depth.
        table: the CSV of the segments; default: `segments.csv` in the folder. Its rows are kept, even those of other
            videos.
        labels: the labels to choose from, in the order of their keys. `labels.txt` beside the table replaces them.
        videos: the videos of the folder in another order; default: by name.

    Raises:
        KinemaError: the folder contains no video, or the table is damaged.
    """

    def __init__(
        self, folder: str | Path, table: str | Path | None = None, *, labels: Iterable[str] = (),
        videos: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        self.folder = require_folder(folder).resolve()
        self.table = SegmentTable(self.folder / "segments.csv" if table is None else table)
        self._rows = self.table.read()
        self._given = tuple(dict.fromkeys(filter(None, map(clean_label, labels))))
        self._added: list[str] = []
        self._steps: list[_Step] = []
        self._found: dict[str, tuple[Segment, ...]] = {}
        self._marks = Marks()
        self._videos = tuple(find_videos([self.folder]))
        if videos is not None:
            self._videos = _reordered(self._videos, videos)
        done = {row.path for row in self._rows}
        self._position = next((i for i, video in enumerate(self._videos) if video not in done), 0)
        self._fixed = self._label_file()

    @property
    def rows(self) -> tuple[Sample, ...]:
        """All rows of the table after the last action."""
        return self._rows

    @property
    def videos(self) -> tuple[str, ...]:
        """The videos, in display order."""
        return self._videos

    @property
    def position(self) -> int:
        """The number of the open video, from 0."""
        return self._position

    @property
    def video(self) -> str:
        """The open video."""
        return self._videos[self._position]

    @property
    def marks(self) -> Marks:
        """The marks of the next segment."""
        return self._marks

    @property
    def segments(self) -> tuple[Sample, ...]:
        """The rows of the open video, in temporal order."""
        mine = [row for row in self._rows if row.path == self.video]
        return tuple(sorted(mine, key=lambda row: (row.start or 0.0, math.inf if row.end is None else row.end)))

    @property
    def done(self) -> int:
        """The number of videos that have a row."""
        return len({row.path for row in self._rows}.intersection(self._videos))

    @property
    def steps(self) -> int:
        """The number of steps that can be undone."""
        return len(self._steps)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels to choose from: those in `labels.txt`, else those given, added, and found in the table."""
        if self._fixed is not None:
            return self._fixed
        return tuple(dict.fromkeys([*self._given, *self._added, *(row.label for row in self._rows)]))

    @property
    def keys(self) -> dict[str, str]:
        """Key -> label. If there are more labels than keys, the last labels have no key."""
        return dict(zip(KEYS, self.labels, strict=False))

    @property
    def suggestions(self) -> tuple[Segment, ...]:
        """The suggestions for the open video, without those whose label and times are in the table already."""
        there = {(row.label, row.start, row.end) for row in self.segments}
        found = self._found.get(self.video, ())
        return tuple(s for s in found if (s.label, round(s.t_start, 3), round(s.t_end, 3)) not in there)

    def mark_start(self, time: float) -> None:
        """Marks the start of the next segment; an end mark that is not after it is removed.

        Args:
            time: seconds from the first frame.
        """
        time = self._time("start", time)
        end = self._marks.end
        self._mark(replace(self._marks, start=time, end=None if end is not None and end <= time else end))

    def mark_end(self, time: float) -> None:
        """Marks the end of the next segment.

        Args:
            time: seconds from the first frame.

        Raises:
            KinemaError: it is not after the start.
        """
        time = self._time("end", time)
        start = self._marks.start or 0.0
        if time <= start:
            raise KinemaError(
                f"{Path(self.video).name}: the end at {time:g} s is not after the start at {start:g} s: mark a later "
                "end, or mark the start again"
            )
        self._mark(replace(self._marks, end=time))

    def pick(self, label: str) -> None:
        """Saves the marked part as a segment with a label, or updates the label and times of the row being edited.

        Args:
            label: one of `labels`, or a key of `keys`.

        Raises:
            KinemaError: there is no such label, or this part of the video has a row already.
        """
        label = self.keys.get(label, label)
        if label not in self.labels:
            raise unknown("label", label, self.labels)
        marks = self._marks
        row = Sample(self.video, label, self._split(), marks.start, marks.end)
        self._save(row, marks.editing)

    def accept(self, number: int) -> None:
        """Saves a suggestion unchanged.

        Args:
            number: index in `suggestions`, from 0.
        """
        found = _one(self.suggestions, number, "suggestion")
        if found.label not in self.labels:
            raise unknown("label", found.label, self.labels)
        start, end = round(found.t_start, 3), round(found.t_end, 3)
        self._save(Sample(self.video, found.label, self._split(), start, end), None)

    def correct(self, number: int) -> None:
        """Copies the times of a suggestion to the marks, so that they can be changed before a label is picked.

        Args:
            number: index in `suggestions`, from 0.
        """
        found = _one(self.suggestions, number, "suggestion")
        self._mark(Marks(round(found.t_start, 3), round(found.t_end, 3)))

    def edit(self, number: int) -> None:
        """Copies the times of a segment to the marks; the next label picked replaces the segment.

        Args:
            number: index in `segments`, from 0.
        """
        row = _one(self.segments, number, "segment")
        self._mark(Marks(row.start, row.end, row))

    def remove(self, number: int) -> None:
        """Removes a segment.

        Args:
            number: index in `segments`, from 0.
        """
        row = _one(self.segments, number, "segment")
        at, before = self._rows.index(row), self._marks
        self._rows = self.table.remove(row)
        self._steps.append(_Step(partial(self.table.add, row, at), self.video, before))
        if before.editing == row:
            self._marks = Marks()

    def clear_marks(self) -> None:
        """Clears the marks."""
        if self._marks != Marks():
            self._mark(Marks())

    def undo(self) -> None:
        """Undoes the last step, and opens the video in which it was made.

        Raises:
            KinemaError: there is no step to undo, or the row has been changed by another person or program.
        """
        if not self._steps:
            raise KinemaError(
                f"{self.table.file.name}: no change was made since it was opened, so there is nothing to undo"
            )
        step = self._steps[-1]
        self._rows = self._rows if step.back is None else step.back()
        self._steps.pop()
        self._position, self._marks = self._videos.index(step.video), step.marks

    def next(self) -> None:
        """Opens the next video.

        Raises:
            KinemaError: this is the last one.
        """
        if self._position + 1 == len(self._videos):
            raise KinemaError(f"{Path(self.video).name} is the last of {plural(len(self._videos), 'video')}")
        self._open(self._position + 1)

    def previous(self) -> None:
        """Opens the video before this one.

        Raises:
            KinemaError: this is the first one.
        """
        if self._position == 0:
            raise KinemaError(f"{Path(self.video).name} is the first of {plural(len(self._videos), 'video')}")
        self._open(self._position - 1)

    def go_to(self, number: int) -> None:
        """Opens a video.

        Args:
            number: among `videos`, from 0.
        """
        _one(self._videos, number, "video")
        self._open(number)

    def add_label(self, label: str) -> None:
        """Adds a label to choose from.

        Raises:
            KinemaError: it is empty, contains a semicolon, or is not in `labels.txt`.
        """
        label = clean_label(label)
        if not label or ";" in label:
            raise KinemaError(f"label {label!r}: give a name without semicolons")
        if self._fixed is not None and label not in self._fixed:
            raise KinemaError(f"label {label!r}: it is not in {self.table.file.parent / LABELS}; add a line there")
        if label not in self.labels:
            self._added.append(label)

    def arrange(self, videos: Sequence[str]) -> None:
        """Changes the order of the videos and opens the first video that has no row.

        Args:
            videos: paths in the new order, such as those of `queue`; videos that are not listed come last.
        """
        self.clear_marks()
        self._videos = _reordered(self._videos, videos)
        done = {row.path for row in self._rows}
        self._position = next((i for i, video in enumerate(self._videos) if video not in done), 0)

    def suggest(self, segments: Iterable[Segment], video: str | None = None) -> None:
        """Offers segments of a video to accept or correct; earlier offers for it are forgotten.

        Args:
            segments: such as those of `kinema.streaming.timeline`.
            video: one of `videos`; None is the open one.
        """
        self._found[video or self.video] = tuple(segments)

    def refresh(self) -> None:
        """Reads the table again, with the changes of other people and programs since the last action.

        Raises:
            KinemaError: the table is damaged.
        """
        self._rows = self.table.read()

    def _save(self, row: Sample, editing: Sample | None) -> None:
        row, before = tidy(row, self.folder), self._marks
        step: Callable[[], tuple[Sample, ...]]
        if editing is None:
            self._rows = self.table.add(row)
            step = partial(self.table.remove, row)
        else:
            row = replace(row, split=editing.split)
            self._rows = self.table.replace(editing, row)
            step = partial(self.table.replace, row, editing)
        self._steps.append(_Step(step, self.video, before))
        self._marks = Marks()

    def _mark(self, marks: Marks) -> None:
        self._steps.append(_Step(None, self.video, self._marks))
        self._marks = marks

    def _open(self, number: int) -> None:
        if number == self._position:
            return
        self.clear_marks()
        self._position = number

    def _time(self, field: str, time: float) -> float:
        if isinstance(time, bool) or not isinstance(time, int | float) or not (math.isfinite(time) and time >= 0):
            raise KinemaError(f"{Path(self.video).name}: {field} is {time!r}: give seconds from the first frame")
        return round(float(time), 3)

    def _split(self) -> str | None:
        """Returns the split of a new row: that of the video's other rows, because a video must not be in two splits."""
        mine = next((row.split for row in self._rows if row.path == self.video and row.split), None)
        return mine or ("train" if any(row.split for row in self._rows) else None)

    def _label_file(self) -> tuple[str, ...] | None:
        file = self.table.file.parent / LABELS
        return tuple(read_label_file(file)) if file.is_file() else None


def require_folder(folder: str | Path) -> Path:
    """Returns the path of a folder.

    Raises:
        KinemaError: there is no folder at this path.
    """
    if not is_folder(folder):
        raise KinemaError(f"{folder}: there is no such folder; give a folder with videos")
    return Path(folder)


def _one(items: Sequence[Item], number: int, what: str) -> Item:
    if not 0 <= number < len(items):
        raise KinemaError(f"{what} {number + 1}: there {'is' if len(items) == 1 else 'are'} {plural(len(items), what)}")
    return items[number]


def _reordered(videos: Sequence[str], wanted: Iterable[str]) -> tuple[str, ...]:
    """Returns all videos, the listed ones first and in that order."""
    there = {os.path.realpath(video): video for video in videos} | {video: video for video in videos}
    first: list[str] = []
    for path in wanted:
        found = there.get(path) or there.get(os.path.realpath(path))
        if found is None:
            raise KinemaError(f"{path}: it is not one of the {plural(len(videos), 'video')} in the folder")
        first.append(found)
    return tuple(dict.fromkeys([*first, *videos]))
