"""Tables of labelled segments: a CSV that several people and programs may change at once, and that training reads."""

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

    Every change reads the file, modifies it and replaces it in one step, while other threads and processes that change
    it wait. Rows that others have written, or that were edited by hand, are therefore kept.

    Args:
        file: the CSV; it need not exist yet. Its paths are relative to its folder.

    Attributes:
        file: absolute path of the CSV.

    Raises:
        KinemaError: the name does not end in `.csv`.
    """

    def __init__(self, file: str | Path) -> None:
        # Links in the folder's path are resolved, because the paths of rows are compared with those of videos.
        self.file = Path(file).parent.resolve() / Path(file).name
        if self.file.suffix.lower() != ".csv":
            raise KinemaError(f"{file}: segments are kept in a CSV; give a name that ends in .csv")

    def read(self) -> tuple[Sample, ...]:
        """Returns the rows in the order of the file, with absolute paths; no rows if there is no file.

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
        """Replaces the rows by the result of a function.

        Args:
            edit: maps the rows currently in the file to the new rows.

        Returns:
            The new rows.

        Raises:
            KinemaError: as `read`; or a row cannot be stored in a table; or a column would be lost. The file is then
                unchanged.
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
            row: its path is absolute, or relative to the folder of the table.
            at: index of the row before which it is inserted, from 0; None is the end.

        Returns:
            All rows.

        Raises:
            KinemaError: as `change`; or this part of the video has a row already.
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
        """Replaces a row by another one, and returns all rows.

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
                f"{self.file}: it has no row {row.label!r} for {describe(row)} any more: "
                "another person or program has changed it; load the table again"
            )
        return rows.index(row)

    def _require_no_other_column(self) -> None:
        """Raises `KinemaError` for an additional column, which the next change would lose."""
        if not self.file.exists():
            return
        header = read_csv_file(self.file, ("path", "label"), "restore it").rows[0][1]
        for name in header:
            if name.strip() not in COLUMNS:
                raise KinemaError(
                    f"{self.file} line 1: its column {name.strip()!r} would be lost, because a table of segments has "
                    f"the columns {','.join(COLUMNS)}: remove it, or use another file"
                )


def tidy(row: Sample, root: Path) -> Sample:
    """Returns a row as it would be read back from a file: with an absolute path and a normalised label.

    Args:
        row: the row to write.
        root: the folder to which its path is relative.

    Raises:
        KinemaError: an empty label, a time that is not a number or is before the first frame, or an end that is not
            after the start.
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
    """Describes the part of the video that a row labels, such as `walk.mp4 from 1.5 to 2 s`."""
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
                f"{file}: the name {row.path!r} is not UTF-8 and cannot be written to a CSV: rename the video"
            ) from error
        if not relative(row.path, file.parent).strip():
            raise KinemaError(f"{file}: a video named {Path(row.path).name!r} has a blank name in the CSV: rename it")
        part = (row.path, row.start, row.end)
        if part in seen:
            raise KinemaError(f"{file}: {describe(row)} would have two rows: change or remove one of them")
        seen.add(part)
    return tuple(rows)


def _seconds(value: float | None) -> str:
    """Formats a time to the millisecond, or with all digits if the file has more."""
    if value is None:
        return ""
    return f"{value:.3f}" if round(value, 3) == value else repr(value)
