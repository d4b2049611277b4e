"""Moments in Time: `trainingSet.csv`, `validationSet.csv`, `moments_categories.txt`, and `training/CLASS/NAME.mp4`."""

from __future__ import annotations

from pathlib import Path

from kinema.data.catalogues.annotation import (
    Annotation,
    AnnotationRow,
    find_file,
    first_lines,
    own_labels,
    read_csv,
    read_lines,
    require,
)
from kinema.data.catalogues.base import catalogue
from kinema.data.catalogues.labels import LabelList, from_indices
from kinema.errors import KinemaError


@catalogue("moments_in_time")
def read(root: Path, part: int) -> Annotation:
    """Reads both sets.

    Raises:
        KinemaError: a set is missing or damaged, or the numbers of the categories do not start at 0.
    """
    train, val = require(root, ["trainingSet.csv"]), require(root, ["validationSet.csv"])
    categories = find_file(root, ["moments_categories.txt"])
    labels = own_labels(root, "moments_in_time") if categories is None else _categories(categories)
    rows = [*_rows(train, "train", labels), *_rows(val, "val", labels)]
    return Annotation((train, val), rows, labels, complete=False, unique=False)


def _categories(file: Path) -> LabelList:
    numbers = {}
    for line, text in read_lines(file):
        name, _, number = text.rpartition(",")
        if not name or not number.strip().isdecimal():
            raise KinemaError(f"{file} line {line}: {text!r} is not a class and its number: download the file again")
        numbers[name] = int(number)
    return from_indices(numbers, file)


def _rows(file: Path, split: str, labels: LabelList) -> list[AnnotationRow]:
    table = list(read_csv(file, width=2))
    meant = labels.meanings(first_lines((line, cells[1].strip()) for line, cells in table), file)
    rows = []
    for _, cells in table:
        path, label = cells[0].strip(), meant[cells[1].strip()]
        folder, _, name = path.rpartition("/")
        rows.append(AnnotationRow(label, split, path, (name.rpartition(".")[0] or name,), folder or label))
    return rows
