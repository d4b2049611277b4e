"""Kinetics-400 and -700: `train.csv` and `val.csv`, and clips named `ID_000012_000022.mp4` or `ID.mp4`.

The test lists are not read: the results in the papers are on val.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from kinema.data.catalogues.annotation import (
    Annotation,
    AnnotationRow,
    find_file,
    first_lines,
    missing,
    own_labels,
    read_csv,
    seconds,
)
from kinema.data.catalogues.base import catalogue
from kinema.data.catalogues.labels import LabelList
from kinema.data.findings import Finding

_COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def _read(classes: int, root: Path, part: int) -> Annotation:
    labels = own_labels(root, f"kinetics{classes}")
    files: list[Path] = []
    rows: list[AnnotationRow] = []
    findings: list[Finding] = []
    folders = (f"kinetics{classes}", f"kinetics{classes}_2020", f"kinetics_{classes}_annotations")
    for split, words in {"train": ("train",), "val": ("val", "validate", "validation")}.items():
        names = [word + ".csv" for word in words]
        stems = (f"kinetics-{classes}", f"kinetics_{classes}", f"kinetics{classes}", f"k{classes}", "kinetics")
        names += [f"{stem}_{name}" for name in tuple(names) for stem in stems]
        file = find_file(root, names, folders)
        if file is not None:
            files.append(file)
            rows += _rows(file, split, labels)
        else:
            message = f"{root} has no annotation file {names[0]}: there is no split {split}"
            findings.append(Finding("warning", "no-annotation", message))
    if not files:
        raise missing(root, ["train.csv", "val.csv"], folders)
    return Annotation(tuple(files), rows, labels, complete=False, findings=findings)


def _rows(file: Path, split: str, labels: LabelList) -> list[AnnotationRow]:
    table = list(read_csv(file, _COLUMNS))
    meant = labels.meanings(first_lines((line, cells[0]) for line, cells in table), file)
    rows = []
    for line, (label, name, start, end) in table:
        first, last = seconds(start, file, line), seconds(end, file, line)
        names: tuple[str, ...] = (name,)
        if first is not None and last is not None:
            names = (f"{name}_{int(first):06d}_{int(last):06d}", name)
        rows.append(AnnotationRow(meant[label], split, f"{meant[label]}/{names[0]}", names, meant[label]))
    return rows


catalogue("kinetics400")(partial(_read, 400))
catalogue("kinetics700")(partial(_read, 700))
