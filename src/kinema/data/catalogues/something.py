"""Something-Something v1 (CSV and folders of frames) and v2 (JSON and WebM files)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kinema.data.catalogues.annotation import (
    Annotation,
    AnnotationRow,
    find_file,
    first_lines,
    read_csv,
    read_json,
    read_lines,
    require,
)
from kinema.data.catalogues.base import catalogue
from kinema.data.catalogues.labels import LabelList, from_indices
from kinema.data.labels import read_labels
from kinema.errors import KinemaError

_SPLITS = {"train": "train", "validation": "val"}


@catalogue("something_v1")
def read_v1(root: Path, part: int) -> Annotation:
    """Reads `something-something-v1-train.csv` and `-validation.csv`: `id;label` without header.

    Raises:
        KinemaError: a file is missing or damaged.
    """
    names = {word: [f"something-something-v1-{word}.csv"] for word in (*_SPLITS, "labels")}
    listed = find_file(root, names["labels"])
    labels = LabelList(read_labels("something_v1"), "kinema's list of something_v1")
    if listed is not None:
        labels = LabelList(tuple(dict.fromkeys(text for _, text in read_lines(listed))), str(listed))
    files = {split: require(root, names[word]) for word, split in _SPLITS.items()}
    rows = []
    for split, file in files.items():
        table = [(line, cells[0].strip(), _bare(cells[1])) for line, cells in read_csv(file, width=2, delimiter=";")]
        meant = labels.meanings(first_lines((line, text) for line, _, text in table), file)
        rows += [AnnotationRow(meant[text], split, name, (name,), "") for _, name, text in table]
    return Annotation(tuple(files.values()), rows, labels, complete=False)


@catalogue("something_v2")
def read_v2(root: Path, part: int) -> Annotation:
    """Reads `something-something-v2-train.json` and `-validation.json`, or newer copies (`train.json` …).

    Raises:
        KinemaError: a file is missing or damaged, or the numbers of the labels do not start at 0.
    """
    names = {word: [f"something-something-v2-{word}.json", f"{word}.json"] for word in (*_SPLITS, "labels")}
    listed = find_file(root, names["labels"])
    labels = LabelList(read_labels("something_v2"), "kinema's list of something_v2")
    if listed is not None:
        labels = _numbered(listed)
    files = {split: require(root, names[word]) for word, split in _SPLITS.items()}
    rows = []
    for split, file in files.items():
        entries = read_json(file)
        if not entries:
            raise KinemaError(f"{file} lists no video: download it again")
        try:
            table = [(i, str(entry["id"]), _bare(_template(entry))) for i, entry in enumerate(entries, 1)]
        except (KeyError, TypeError, AttributeError) as error:
            raise KinemaError(f"{file} is not a list of entries with id and template ({error!r}): fetch it") from error
        meant = labels.meanings(first_lines((i, text) for i, _, text in table), file)
        rows += [AnnotationRow(meant[text], split, name, (name,), "") for _, name, text in table]
    return Annotation(tuple(files.values()), rows, labels, complete=False)


def _template(entry: Mapping[str, str]) -> str:
    """Returns the class. `label` is normally a sentence with the objects filled in, in some copies it is the class."""
    return entry["template"] if "template" in entry else entry["label"]


def _numbered(file: Path) -> LabelList:
    document = read_json(file)
    if not isinstance(document, dict) or not all(str(number).isdecimal() for number in document.values()):
        raise KinemaError(f"{file} is not a JSON object of labels and their numbers: download it again")
    return from_indices({name: int(number) for name, number in document.items()}, file)


def _bare(template: str) -> str:
    return template.replace("[", "").replace("]", "").strip()
