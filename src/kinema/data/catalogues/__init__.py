"""Catalogues: public data sets in their usual layout, official annotation files beside files or frame folders."""

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

SHOWN = 3  # videos that a message lists


@dataclass(frozen=True)
class Listing:
    """A data set on disk.

    Attributes:
        samples: in the order of the annotation files.
        labels: all labels, in the order of public checkpoints.
        flip_map: pairs of labels that a left-right flip exchanges.
        findings: problems and missing videos.
        absent: split -> the videos that are left out, one entry per row of the annotation, spelled as there.
    """

    samples: list[Sample]
    labels: tuple[str, ...]
    flip_map: dict[str, str]
    findings: list[Finding]
    absent: dict[str, tuple[str, ...]]


def list_catalogue(source: Source, *, check: bool = True) -> Listing:
    """Reads the annotation files of a catalogue and looks for its videos, with one listing of the folders.

    For the sets from YouTube and for Something-Something, an absent video is left out and reported. UCF-101 and HMDB-51
    can be downloaded completely; there an absent video is an error, or without `check` a sample that cannot be read.

    Raises:
        KinemaError: the folder does not exist, an annotation file is missing or damaged, or no video exists.
    """
    root = source.root
    reach(root)
    if not is_folder(root):
        form = f"{source.name}:FOLDER"
        raise KinemaError(
            f"no folder {str(root)!r} for the catalogue {source.name}: give {form} with the folder of its videos"
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
            f"{root} contains none of the {len(absent)} videos in {annotation.files[0]} and the other lists: put them "
            f"there as files or folders of frames, the first is {absent[0].shown}"
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
    """Reports videos that are gone from YouTube, with counts per split: metrics cover only the remaining videos."""
    named, gone = Counter(row.split for row in annotation.rows), Counter(row.split for row in absent)
    counts = " and ".join(f"{gone[split]} of the {named[split]} {split} videos" for split in named if gone[split])
    message = f"{counts} in the annotation are not in {root} ({_first(absent)}) and are left out"
    message += ": metrics cover only the others"
    return Finding("warning", "absent", message, tuple(f"{row.shown} ({row.split})" for row in absent))


def _unlisted(root: Path, errors: list[OSError]) -> list[Finding]:
    """Reports folders that cannot be listed, except a disk's own `lost+found`, which holds no videos."""
    found = [error for error in errors if Path(str(error.filename)).name != "lost+found"]
    if not found:
        return []
    message = f"{root}: {plural(len(found), 'folder')} cannot be listed, and videos in them count as absent (the first "
    message += f"is {found[0].filename}: {reason(found[0])})"
    return [Finding("warning", "unlistable", message, tuple(f"{e.filename}: {reason(e)}" for e in found))]


def _gone(root: Path, annotation: Annotation, absent: list[AnnotationRow]) -> Finding:
    files = annotation.files
    places = " and ".join(map(str, files)) if len(files) <= 2 else f"the split files in {files[0].parent}"
    number = len({row.shown for row in absent})
    message = f"{places} list {plural(number, 'video')} that {'are' if number > 1 else 'is'} not in {root} "
    message += f"({_first(absent)}): download what is missing, this data set is available completely"
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
        message += ": the outputs of those checkpoints then mean other classes"
        found.append(Finding("warning", "label-order", message))
    empty = set(labels.names) - {sample.label for sample in samples}
    if empty:
        message = f"{len(empty)} of the {len(labels.names)} classes have no video"
        message += ": such outputs remain but are never correct"
        found.append(Finding("warning", "empty-classes", message, tuple(n for n in labels.names if n in empty)))
    if twice:
        name, paths = next(iter(twice.items()))
        verb = "lies" if len(twice) == 1 else "lie"
        message = f"{plural(len(twice), 'video')} {verb} in {source.root} more than once ({name} as {paths[0]} and "
        message += f"{paths[1]}): the first is used, move the others elsewhere"
        found.append(Finding("warning", "twice", message, tuple(" = ".join(paths) for paths in twice.values())))
    return found
