"""Catalogues: public data sets as people have them, official annotation files beside files or frame folders."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from kinema.data.catalogues.annotation import Annotation, AnnotationRow
from kinema.data.catalogues.base import NAMES, READERS, catalogue
from kinema.data.catalogues.files import Shelf, list_videos
from kinema.data.catalogues.labels import flip_map
from kinema.data.catalogues.source import Source, parse
from kinema.data.findings import Finding
from kinema.data.labels import read_labels
from kinema.data.sources import Sample
from kinema.errors import KinemaError
from kinema.files import is_folder, reach, reason
from kinema.text import plural

__all__ = ["NAMES", "Listing", "Source", "catalogue", "list_catalogue", "parse"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

SHOWN = 3  # videos that a message names


@dataclass(frozen=True)
class Listing:
    """A data set on disk.

    Attributes:
        samples: in the order of the annotation files.
        labels: all of them, in the order of public checkpoints.
        flip_map: the labels that a left-right flip exchanges.
        findings: what is wrong or missing.
        absent: split -> the videos that are left out, one entry a row of the annotation, as it spells them.
    """

    samples: list[Sample]
    labels: tuple[str, ...]
    flip_map: dict[str, str]
    findings: list[Finding]
    absent: dict[str, tuple[str, ...]]


def list_catalogue(source: Source, *, check: bool = True) -> Listing:
    """Reads the annotation files of a catalogue and looks for its videos, by one listing of the folders.

    Of the sets from YouTube and of Something-Something a video that is absent is left out and reported. Of UCF-101 and
    HMDB-51, which one can have whole, it is an error, or without `check` a sample that cannot be read.

    Raises:
        KinemaError: no such folder, an annotation file that is missing or damaged, or none of the videos is there.
    """
    root = source.root
    reach(root)
    if not is_folder(root):
        form = f"{source.name}:FOLDER"
        raise KinemaError(
            f"no folder {str(root)!r} for the catalogue {source.name}: write {form}, the folder of its videos"
        )
    annotation = READERS[source.name](root, source.part)
    wanted = {name for row in annotation.rows for name in (*row.names, *row.whole)}
    unlisted: list[OSError] = []
    shelf = Shelf(list_videos(root, wanted, unlisted), annotation.labels.names, unique=annotation.unique)
    samples: list[Sample] = []
    absent: list[AnnotationRow] = []
    twice: dict[str, list[str]] = {}
    for row in annotation.rows:
        sample = _sample(row, shelf, twice)
        if sample is None:
            absent.append(row)
            if not annotation.complete:
                continue
            sample = Sample(str(root / row.shown), row.label, row.split)
        samples.append(sample)
    if len(absent) == len(annotation.rows):
        raise KinemaError(
            f"{root} holds none of the {len(absent)} videos that {annotation.files[0]} and its like name: put them "
            f"there, the first is {absent[0].shown}, as a file or as a folder of frames"
        )
    findings = [*annotation.findings, *_unlisted(root, unlisted), *_remarks(source, annotation, samples, twice)]
    left_out: dict[str, tuple[str, ...]] = {}
    if absent and not annotation.complete:
        findings.append(_left_out(root, annotation, absent))
        left_out = {name: tuple(r.shown for r in absent if r.split == name) for name in {r.split: None for r in absent}}
    elif absent and check:
        findings.append(_gone(root, annotation, absent))
    known = set(annotation.labels.names)
    flips = {a: b for a, b in flip_map(source.name).items() if a in known and b in known}
    return Listing(samples, annotation.labels.names, flips, findings, left_out)


def _sample(row: AnnotationRow, shelf: Shelf, twice: dict[str, list[str]]) -> Sample | None:
    for names, start, end in ((row.names, None, None), (row.whole, row.start, row.end)):
        paths = shelf.paths(names, row.folder)
        if paths[1:]:
            twice[row.shown] = paths
        if paths:
            return Sample(paths[0], row.label, row.split, start, end)
    return None


def _left_out(root: Path, annotation: Annotation, absent: list[AnnotationRow]) -> Finding:
    """Videos that are gone from YouTube: counted for every split, because a figure on the rest is of fewer videos."""
    named, gone = Counter(row.split for row in annotation.rows), Counter(row.split for row in absent)
    counts = " and ".join(f"{gone[split]} of the {named[split]} {split} videos" for split in named if gone[split])
    message = f"{counts} that the annotation names are not in {root} ({_first(absent)}) and are left out"
    message += ": figures are of the others"
    return Finding("warning", "absent", message, tuple(f"{row.shown} ({row.split})" for row in absent))


def _unlisted(root: Path, errors: list[OSError]) -> list[Finding]:
    """Folders that cannot be listed; a disk's own `lost+found`, which only root may enter, holds no videos."""
    found = [error for error in errors if Path(str(error.filename)).name != "lost+found"]
    if not found:
        return []
    message = (
        f"{root}: {plural(len(found), 'folder')} cannot be listed, and videos in there count as absent (the first "
    )
    message += f"is {found[0].filename}: {reason(found[0])})"
    return [Finding("warning", "unlistable", message, tuple(f"{e.filename}: {reason(e)}" for e in found))]


def _gone(root: Path, annotation: Annotation, absent: list[AnnotationRow]) -> Finding:
    files = annotation.files
    places = " and ".join(map(str, files)) if len(files) <= 2 else f"the split files in {files[0].parent}"
    number = len({row.shown for row in absent})
    message = f"{places} name {plural(number, 'video')} that {'are' if number > 1 else 'is'} not in {root} "
    message += f"({_first(absent)}): fetch what is missing, this data set can be downloaded whole"
    return Finding("error", "no-file", message, tuple(dict.fromkeys(str(root / row.shown) for row in absent)))


def _first(absent: list[AnnotationRow]) -> str:
    names = list(dict.fromkeys(row.shown for row in absent))
    return ", ".join(names[:SHOWN]) + (", …; kinema data doctor lists all" if names[SHOWN:] else "")


def _remarks(
    source: Source, annotation: Annotation, samples: list[Sample], twice: dict[str, list[str]]
) -> list[Finding]:
    found = []
    labels = annotation.labels
    if labels.names != read_labels(source.name):
        message = f"{labels.source} has other labels, or another order, than public checkpoints of {source.name}"
        message += ": their outputs mean other classes"
        found.append(Finding("warning", "label-order", message))
    empty = set(labels.names) - {sample.label for sample in samples}
    if empty:
        message = f"{len(empty)} of the {len(labels.names)} classes have no video"
        message += ": they stay outputs, which are never right"
        found.append(Finding("warning", "empty-classes", message, tuple(n for n in labels.names if n in empty)))
    if twice:
        name, paths = next(iter(twice.items()))
        verb = "lies" if len(twice) == 1 else "lie"
        message = f"{plural(len(twice), 'video')} {verb} in {source.root} more than once ({name} as {paths[0]} and "
        message += f"{paths[1]}): the first is taken, move the others elsewhere"
        found.append(Finding("warning", "twice", message, tuple(" = ".join(paths) for paths in twice.values())))
    return found
