"""Parts of annotation files that all catalogues share: rows with videos, and labels."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from kinema.data.catalogues.labels import LabelList
from kinema.data.findings import Finding
from kinema.data.labels import read_labels
from kinema.errors import KinemaError, unknown
from kinema.tables import read_text
from kinema.text import parse_json


class AnnotationRow(NamedTuple):
    """A video that an annotation file lists.

    Attributes:
        label: its label, one of the labels of the data set.
        split: train, val or test.
        shown: name of the video as spelled in the annotation, for messages.
        names: possible names of its file or frame folder, without suffix.
        folder: its class folder.
        start: start of the part, in seconds.
        end: end of the part, in seconds.
        whole: names of files that contain more than the part, so that start and end apply.
    """

    label: str
    split: str
    shown: str
    names: tuple[str, ...]
    folder: str
    start: float | None = None
    end: float | None = None
    whole: tuple[str, ...] = ()


@dataclass(frozen=True)
class Annotation:
    """Contents of all annotation files of a data set.

    Attributes:
        files: the files that were read.
        rows: the videos.
        labels: the labels, in the order of public checkpoints.
        complete: True if every video must exist; otherwise some are expected to be gone.
        unique: True if the name of a video occurs only once in the data set.
        findings: problems in the files that the user should know.
    """

    files: tuple[Path, ...]
    rows: list[AnnotationRow]
    labels: LabelList
    complete: bool
    unique: bool = True
    findings: list[Finding] = field(default_factory=list)


def find_file(root: Path, names: Iterable[str], folders: Sequence[str] = ()) -> Path | None:
    """Finds the first annotation file that exists, in the root or in one of its folders.

    Args:
        root: root folder of the data set.
        names: possible names of the file.
        folders: further folders that it may be in, besides `annotations` and `labels`.
    """
    names = list(names)
    for folder in (root, *(root / name for name in (*folders, "annotations", "labels"))):
        for name in names:
            if (folder / name).is_file():
                return folder / name
    return None


def require(root: Path, names: Sequence[str], folders: Sequence[str] = ()) -> Path:
    """Same as `find_file`, for a file that must exist."""
    found = find_file(root, names, folders)
    if found is None:
        raise missing(root, names, folders)
    return found


def missing(root: Path, names: Sequence[str], folders: Sequence[str] = ()) -> KinemaError:
    """Builds the error for an annotation file that is not found."""
    places = " or ".join(str(root / folder) for folder in (*folders[:1], "annotations"))
    return KinemaError(f"{root} has no annotation file {' or '.join(names)}: put it there, or into {places}")


def own_labels(root: Path, name: str) -> LabelList:
    """Reads the labels in `labels.txt` in the root, one per line, or else returns those of this package."""
    file = find_file(root, ["labels.txt"])
    if file is None:
        return LabelList(read_labels(name), f"kinema's list of {name}")
    names = tuple(dict.fromkeys(line.strip() for _, line in read_lines(file)))
    return LabelList(names, str(file))


def read_lines(file: Path) -> list[tuple[int, str]]:
    """Returns number and text of the lines that are not empty.

    Raises:
        KinemaError: the file is not UTF-8, or has no lines.
    """
    found = [(i, line.strip()) for i, line in enumerate(read_text(file).splitlines(), 1) if line.strip()]
    if not found:
        raise KinemaError(f"{file} is empty: download it again")
    return found


def read_json(file: Path) -> Any:
    """Returns the content of a JSON file.

    Raises:
        KinemaError: the file is not JSON.
    """
    try:
        return parse_json(read_text(file))
    except ValueError as error:
        raise KinemaError(f"{file} is not JSON ({error}): download it again") from error


def read_csv(
    file: Path, columns: Sequence[str] = (), *, width: int = 0, delimiter: str = ","
) -> Iterator[tuple[int, list[str]]]:
    """Yields line number and cells of each row of a CSV; some files have a million rows.

    Args:
        file: a CSV, with a header if `columns` are given.
        columns: names of the wanted columns, in the wanted order.
        width: for a CSV without header, the smallest number of cells per row; all cells are returned.
        delimiter: separator of the cells.

    Raises:
        KinemaError: the file is not a CSV, a column or a cell is missing, or there is no row.
    """
    reader = csv.reader(read_text(file).splitlines(), delimiter=delimiter)
    header = [cell.strip() for cell in next(reader, [])] if columns else []
    for column in columns:
        if column not in header:
            near = unknown("column", column, header) if header else "the file is empty"
            needed = ",".join(columns)
            raise KinemaError(f"{file} has no column {column!r} in its first line ({near}): it needs {needed}")
    places = [header.index(column) for column in columns]
    least = max(places, default=width - 1) + 1
    empty = True
    try:
        for cells in reader:
            if not any(map(str.strip, cells)):
                continue
            if len(cells) < least:
                line = reader.line_num
                raise KinemaError(f"{file} line {line}: fewer than {least} cells (separator {delimiter!r}): correct it")
            empty = False
            yield reader.line_num, [cells[i] for i in places] if columns else cells
    except csv.Error as error:
        raise KinemaError(f"{file} is not a CSV ({error}): download it again") from error
    if empty:
        raise KinemaError(f"{file} lists no video: download it again")


def first_lines(texts: Iterable[tuple[int, str]]) -> dict[str, int]:
    """Returns every text with the number of its first line."""
    found: dict[str, int] = {}
    for line, text in texts:
        found.setdefault(text, line)
    return found


def seconds(text: str, file: Path, line: int) -> float | None:
    """Parses a time in an annotation file; None for an empty cell."""
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise KinemaError(f"{file} line {line}: {text!r} is not a time in seconds: correct the line") from error
