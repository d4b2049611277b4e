"""`absent.csv`: the videos that belong to a data set but are missing from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from pathlib import Path

from kinema.errors import KinemaError
from kinema.tables import read_csv_file


def read_absent(file: Path, there: Container[tuple[str, str | None]]) -> dict[str, tuple[str, ...]]:
    """Reads the names of absent videos, by split.

    Args:
        file: a CSV with the columns path and split.
        there: path and split of the samples in the data set.

    Raises:
        KinemaError: the table has other columns, a row lacks one of the two values, or a video is in the data set.
    """
    found: dict[str, list[str]] = defaultdict(list)
    table = read_csv_file(file, ("path", "split"), "correct or remove it")
    rows = [[cell.strip() for cell in row] for _, row in table.rows]
    if not rows or sorted(rows[0]) != ["path", "split"]:
        raise KinemaError(f"{file} must have the columns path and split and no others: correct or remove it")
    for row in rows[1:]:
        if len(row) != 2 or not all(row):
            raise KinemaError(f"{file}: the row {','.join(row)!r} is not a path and its split: correct or remove it")
        path, split = (row[rows[0].index(column)] for column in ("path", "split"))
        if (str(file.parent / path), split) in there:
            raise KinemaError(f"{file}: {path} is listed as absent but is in the split {split!r}: remove the row")
        found[split].append(path)
    return {split: tuple(names) for split, names in found.items()}
