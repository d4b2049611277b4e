"""UCF-101: `trainlist01.txt`, `testlist01.txt`, `classInd.txt`, and one folder of AVI files per class."""

from __future__ import annotations

from pathlib import Path

from kinema.data.catalogues.annotation import Annotation, AnnotationRow, find_file, read_lines, require
from kinema.data.catalogues.base import catalogue
from kinema.data.catalogues.labels import LabelList, from_indices
from kinema.data.labels import read_labels
from kinema.errors import KinemaError

_FOLDERS = ("ucfTrainTestlist", "UCF101TrainTestSplits-RecognitionTask", "splits")


@catalogue("ucf101", splits=3)
def read(root: Path, part: int) -> Annotation:
    """Reads the official split `part`.

    Raises:
        KinemaError: a list is missing or damaged, or numbers the classes in another way than `classInd.txt`.
    """
    train = require(root, [f"trainlist{part:02d}.txt"], _FOLDERS)
    test = require(root, [f"testlist{part:02d}.txt"], _FOLDERS)
    index = find_file(root, ["classInd.txt"], _FOLDERS)
    numbers = {} if index is None else _class_numbers(index)
    labels = LabelList(read_labels("ucf101"), "kinema's list of ucf101")
    if index is not None:
        labels = from_indices(numbers, index, first=1)
    else:
        numbers = {name: i for i, name in enumerate(labels.names, 1)}
    rows = [*_rows(train, "train", labels, numbers), *_rows(test, "test", labels, numbers)]
    return Annotation((train, test), rows, labels, complete=True)


def _class_numbers(file: Path) -> dict[str, int]:
    numbers = {}
    for line, text in read_lines(file):
        number, _, name = text.partition(" ")
        if not number.isdecimal() or not name.strip():
            raise KinemaError(f"{file} line {line}: {text!r} is not a number and a class: download the file again")
        numbers[name.strip()] = int(number)
    return numbers


def _rows(file: Path, split: str, labels: LabelList, numbers: dict[str, int]) -> list[AnnotationRow]:
    rows = []
    for line, text in read_lines(file):
        path, _, number = text.partition(" ")
        folder, slash, name = path.rpartition("/")
        label = labels.meaning(folder)
        if not slash or label is None:
            raise KinemaError(
                f"{file} line {line}: {path!r} does not start with a class of {labels.source}: correct it"
            )
        if number and number.strip() != str(numbers[label]):
            raise KinemaError(
                f"{file} line {line}: {label} has the number {number.strip()}, but in {labels.source} it is "
                f"{numbers[label]}: use lists from one source, official ones start at 1"
            )
        stem = name.rpartition(".")[0] or name
        # In some copies, the file names of one class start with a small letter, like their folder.
        rows.append(AnnotationRow(label, split, path, (stem, stem.replace("HandStand", "Handstand")), folder))
    return rows
