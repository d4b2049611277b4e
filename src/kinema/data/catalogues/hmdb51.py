"""HMDB-51: class folders, and per class a `CLASS_test_split1.txt` with 1 for train, 2 for test and 0 for neither."""

from __future__ import annotations

from pathlib import Path

from kinema.data.catalogues.annotation import Annotation, AnnotationRow, missing, read_lines
from kinema.data.catalogues.base import catalogue
from kinema.data.catalogues.labels import LabelList
from kinema.data.labels import read_labels
from kinema.errors import KinemaError, unknown

_FOLDERS = ("testTrainMulti_7030_splits", "test_train_splits", "splits", "annotations", ".")
_SPLITS = {"0": None, "1": "train", "2": "test"}


@catalogue("hmdb51", splits=3)
def read(root: Path, part: int) -> Annotation:
    """Reads the official split `part`.

    Raises:
        KinemaError: there is no split file, a file is of an unknown class or has a code other than 0, 1 and 2, or a
            class has a folder of videos but no split file.
    """
    ending = f"_test_split{part}.txt"
    labels = LabelList(read_labels("hmdb51"), "kinema's list of hmdb51")
    found = ((root / folder, sorted((root / folder).glob(f"*{ending}"))) for folder in _FOLDERS)
    folder, files = next(((folder, files) for folder, files in found if files), (root, []))
    if not files:
        raise missing(root, [f"brush_hair{ending}"], _FOLDERS)
    rows = []
    for file in files:
        name = file.name.removesuffix(ending)
        label = labels.meaning(name)
        if label is None:
            raise KinemaError(f"{file}: {unknown('class', name, labels.names)}")
        rows += _rows(file, label)
    listed = {row.label for row in rows}
    for label in labels.names:
        if label not in listed and (root / label).is_dir():
            raise KinemaError(f"{folder} has no {label}{ending} for the videos in {root / label}: download it")
    return Annotation(tuple(files), rows, labels, complete=True, unique=False)


def _rows(file: Path, label: str) -> list[AnnotationRow]:
    rows = []
    for line, text in read_lines(file):
        name, _, code = text.rpartition(" ")
        if code not in _SPLITS or not name:
            raise KinemaError(f"{file} line {line}: {text!r} does not end with 0, 1 (train) or 2 (test): correct it")
        split = _SPLITS[code]
        if split is not None:
            name = name.strip()
            rows.append(AnnotationRow(label, split, f"{label}/{name}", (name.rpartition(".")[0] or name,), label))
    return rows
