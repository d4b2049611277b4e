"""Tables of labelled segments: a CSV that people and programs change, several at a time, and that training reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from kinema.data.label_sets import SEPARATOR, joined, label_set
from kinema.data.paths import relative
from kinema.data.sources import Notes, Sample, clean_label, read_table
from kinema.errors import KinemaError
from kinema.files import in_turn, look_up, reason
from kinema.tables import read_csv_file, write_csv

COLUMNS = ("path", "label", "split", "start", "end")


class SegmentTable:
    """A CSV with the columns `path,label,split,start,end`, as `kinema train --data` reads it.

    Every change reads the file, changes it and replaces it in one step, while other threads and processes that do the
    same wait. Rows that others have written, or that were edited by hand, are therefore kept.

    Args:
        file: the CSV; it need not exist yet. Its paths are relative to its folder.

    Attributes:
        file: absolute path of the CSV.

    Raises:
        KinemaError: it is not named `*.csv`.
    """

    def __init__(self, file: str | Path) -> None:
        # The folder without links: the paths of rows are compared with those of videos.
        self.file = Path(file).parent.resolve() / Path(file).name
        if self.file.suffix.lower() != ".csv":
            raise KinemaError(f"{file}: segments are kept in a CSV; give a name that ends in .csv")

    def read(self) -> tuple[Sample, ...]:
        """The rows, in the order of the file, with absolute paths; none where there is no file.

        Raises:
            KinemaError: the file cannot be read, or a row is damaged; the message names the line.
        """
        try:
            if look_up(self.file) is None:
                return ()
        except (OSError, ValueError) as error:
            raise KinemaError(f"{self.file}: {reason(error)}") from error
        notes = Notes(self.file)
        rows = read_table(self.file, notes, may_be_empty=True)
        if found := notes.all():
            raise KinemaError(found[0].message)
        return tuple(rows)

    def change(self, edit: Callable[[list[Sample]], Sequence[Sample]]) -> tuple[Sample, ...]:
        """Replaces the rows by what a function makes of them.

        Args:
            edit: from the rows as they are in the file now to the new ones.

        Returns:
            The new rows.

        Raises:
            KinemaError: as `read`; or a row that no table can hold; or a column that would be lost. The file is then as
                it was.
            RunError: the file cannot be written.
        """
        with in_turn(self.file):
            rows = self.read()
            self._require_no_other_column()
            changed = _checked(edit(list(rows)), self.file)
            root = self.file.parent
            cells = [
                (relative(row.path, root), row.label, row.split or "", _seconds(row.start), _seconds(row.end))
                for row in changed
            ]
            write_csv(self.file, COLUMNS, cells)
        return changed

    def add(self, row: Sample, at: int | None = None) -> tuple[Sample, ...]:
        """Adds a row.

        Args:
            row: with an absolute path, or one that is relative to the folder of the table.
            at: number of the row before which it is put, from 0; None is the end.

        Returns:
            All rows.

        Raises:
            KinemaError: as `change`; or the same part of the video has a row already.
        """
        row = tidy(row, self.file.parent)

        def edit(rows: list[Sample]) -> list[Sample]:
            for other in rows:
                if (other.path, other.start, other.end) == (row.path, row.start, row.end):
                    raise KinemaError(
                        f"{self.file}: {describe(row)} is labelled {other.label!r} already: change or remove that row"
                    )
            rows.insert(len(rows) if at is None else at, row)
            return rows

        return self.change(edit)

    def remove(self, row: Sample) -> tuple[Sample, ...]:
        """Removes a row and returns the others.

        Raises:
            KinemaError: as `change`; or there is no such row any more.
        """

        def edit(rows: list[Sample]) -> list[Sample]:
            del rows[self._find(rows, row)]
            return rows

        return self.change(edit)

    def replace(self, row: Sample, other: Sample) -> tuple[Sample, ...]:
        """Puts another row in the place of one, and returns all.

        Raises:
            KinemaError: as `change`; or there is no such row any more.
        """
        other = tidy(other, self.file.parent)

        def edit(rows: list[Sample]) -> list[Sample]:
            rows[self._find(rows, row)] = other
            return rows

        return self.change(edit)

    def _find(self, rows: list[Sample], row: Sample) -> int:
        if row not in rows:
            raise KinemaError(
                f"{self.file}: it has no row {row.label!r} for {describe(row)} any more: somebody else has changed it"
            )
        return rows.index(row)

    def _require_no_other_column(self) -> None:
        """A column that others have added would be lost with the next change."""
        if not self.file.exists():
            return
        header = read_csv_file(self.file, ("path", "label"), "restore it").rows[0][1]
        for name in header:
            if name.strip() not in COLUMNS:
                raise KinemaError(
                    f"{self.file} line 1: its column {name.strip()!r} would be lost, since segments have the columns "
                    f"{','.join(COLUMNS)}: remove it, or label into another file"
                )


def tidy(row: Sample, root: Path) -> Sample:
    """A row as it is read back from a file: with an absolute path and a clean label.

    Args:
        row: that somebody wants to write.
        root: folder that its path is relative to.

    Raises:
        KinemaError: an empty label, a time that is none or is before the first frame, or an end that is not after the
            start.
    """
    name = Path(row.path).name
    label = clean_label(row.label)
    if SEPARATOR in label:
        label = joined(label_set(label))
    if not label:
        raise KinemaError(f"{name}: the label is empty: give one")
    for field, value in (("start", row.start), ("end", row.end)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise KinemaError(f"{name}: {field} is {value}: give seconds from the first frame, from 0 on")
    if row.end is not None and (row.start or 0.0) >= row.end:
        raise KinemaError(
            f"{name}: the end at {row.end:g} s is not after the start at {row.start or 0:g} s: mark one of them again"
        )
    return replace(row, path=str(root / row.path), label=label, split=(row.split or "").strip() or None)


def describe(row: Sample) -> str:
    """The part of the video that a row is about, such as `walk.mp4 from 1.5 to 2 s`."""
    name = Path(row.path).name
    if row.start is None and row.end is None:
        return f"{name}, the whole video,"
    start = "the beginning" if row.start is None else f"{row.start:g}"
    return f"{name} from {start} to " + ("the end" if row.end is None else f"{row.end:g} s")


def _checked(rows: Sequence[Sample], file: Path) -> tuple[Sample, ...]:
    seen = set()
    for row in rows:
        try:
            row.path.encode("utf-8")
        except UnicodeEncodeError as error:
            raise KinemaError(
                f"{file}: the name {row.path!r} is not UTF-8 and a CSV cannot hold it: rename the video"
            ) from error
        if not relative(row.path, file.parent).strip():
            raise KinemaError(f"{file}: a video named {Path(row.path).name!r} has a blank name in the CSV: rename it")
        part = (row.path, row.start, row.end)
        if part in seen:
            raise KinemaError(f"{file}: {describe(row)} would have two rows: change or remove one of them")
        seen.add(part)
    return tuple(rows)


def _seconds(value: float | None) -> str:
    """To a millisecond, or all digits where somebody has written more."""
    if value is None:
        return ""
    return f"{value:.3f}" if round(value, 3) == value else repr(value)
