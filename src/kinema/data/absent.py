"""`absent.csv`: the videos that belong to a data set and are not in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from pathlib import Path

from kinema.errors import KinemaError
from kinema.tables import read_csv_file


def read_absent(file: Path, there: Container[tuple[str, str | None]]) -> dict[str, tuple[str, ...]]:
    """Names of absent videos, by split.

    Args:
        file: a CSV of the columns path and split.
        there: path and split of what is in the data set.

    Raises:
        KinemaError: another table, a row without one of the two, or a video that is in the data set.
    """
    found: dict[str, list[str]] = defaultdict(list)
    table = read_csv_file(file, ("path", "split"), "correct or remove it")
    rows = [[cell.strip() for cell in row] for _, row in table.rows]
    if not rows or sorted(rows[0]) != ["path", "split"]:
        raise KinemaError(f"{file} does not have the columns path and split alone: correct or remove it")
    for row in rows[1:]:
        if len(row) != 2 or not all(row):
            raise KinemaError(f"{file}: not a path and its split: {','.join(row)!r}: correct or remove the row")
        path, split = (row[rows[0].index(column)] for column in ("path", "split"))
        if (str(file.parent / path), split) in there:
            raise KinemaError(f"{file}: {path} is absent from the split {split!r} and listed as there: remove the row")
        found[split].append(path)
    return {split: tuple(names) for split, names in found.items()}
