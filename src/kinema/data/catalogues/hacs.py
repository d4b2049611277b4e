"""HACS: `HACS_clips_v1.1.1.csv` (the papers' clips of two seconds) or `HACS_segments_v1.1.1.json`, and `v_ID.mp4`.

The videos are complete; a clip is the part from start to end. Only positive clips are read. Test clips are not read,
because they have no labels.
"""

from __future__ import annotations

from pathlib import Path

from kinema.data.catalogues.annotation import (
    Annotation,
    AnnotationRow,
    find_file,
    first_lines,
    missing,
    own_labels,
    read_csv,
    read_json,
    seconds,
)
from kinema.data.catalogues.base import catalogue
from kinema.data.catalogues.labels import LabelList
from kinema.errors import KinemaError

_FOLDERS = ("HACS_v1.1.1", "HACS_v1.1", "HACS-dataset")
_CLIPS = ("HACS_clips_v1.1.1.csv", "HACS_clips_v1.1.csv")
_SEGMENTS = ("HACS_segments_v1.1.1.json", "HACS_segments_v1.1.json")
_COLUMNS = ("classname", "youtube_id", "subset", "start", "end", "label")
_SPLITS = {"training": "train", "validation": "val", "testing": None, "train": "train", "val": "val", "test": None}


@catalogue("hacs")
def read(root: Path, part: int) -> Annotation:
    """Reads the clips, or the segments if only those exist.

    Raises:
        KinemaError: neither file exists, or it is damaged.
    """
    labels = own_labels(root, "hacs")
    clips = find_file(root, _CLIPS, _FOLDERS)
    if clips is not None:
        return Annotation((clips,), _clips(clips, labels), labels, complete=False, unique=False)
    segments = find_file(root, _SEGMENTS, _FOLDERS)
    if segments is None:
        raise missing(root, (_CLIPS[0], _SEGMENTS[0]), _FOLDERS)
    return Annotation((segments,), _segments(segments, labels), labels, complete=False, unique=False)


def _clips(file: Path, labels: LabelList) -> list[AnnotationRow]:
    used = []
    for line, (label, name, subset, start, end, positive) in read_csv(file, _COLUMNS):
        split = _split(subset, file, f"line {line}")
        if split is not None and positive in ("1", "1.0"):
            used.append((line, label, name, split, start, end))
    meant = labels.meanings(first_lines((line, label) for line, label, *_ in used), file)
    rows = []
    for line, label, name, split, start, end in used:
        first, last = seconds(start, file, line), seconds(end, file, line)
        rows.append(_row(meant[label], split, name, first, last, (start, end)))
    if not rows:
        raise KinemaError(f"{file} has no row with the label 1 for training or validation: download it again")
    return rows


def _segments(file: Path, labels: LabelList) -> list[AnnotationRow]:
    document = read_json(file)
    try:
        rows = []
        for name, video in document["database"].items():
            split = _split(video["subset"], file, name)
            for part in video["annotations"] if split is not None else ():
                label = labels.meaning(part["label"])
                if label is None:
                    labels.meanings({part["label"]: 1}, file)
                first, last = (float(t) for t in part["segment"])
                rows.append(_row(label or "", split or "", name, first, last, (f"{first:g}", f"{last:g}")))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, KinemaError):
            raise
        reason = f"{file} does not have the form of ActivityNet's annotations ({error!r}): download it again"
        raise KinemaError(reason) from error
    if not rows:
        raise KinemaError(f"{file} has no segment for training or validation: download it again")
    return rows


def _row(
    label: str, split: str, name: str, start: float | None, end: float | None, times: tuple[str, str]
) -> AnnotationRow:
    cut = (f"{name}_{times[0]}_{times[1]}", f"v_{name}_{times[0]}_{times[1]}")
    whole = f"v_{name}"
    return AnnotationRow(label, split, whole, cut, label, start, end, (whole, name))


def _split(subset: str, file: Path, where: str) -> str | None:
    if subset not in _SPLITS:
        raise KinemaError(f"{file} {where}: the subset {subset!r} is not training, validation or testing: correct it")
    return _SPLITS[subset]
