"""Manifests: the videos of a folder, CSV or catalogue, with their labels and splits."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kinema.data.absent import read_absent
from kinema.data.addresses import is_address
from kinema.data.catalogues import list_catalogue
from kinema.data.catalogues import parse as parse_catalogue
from kinema.data.findings import Finding
from kinema.data.label_order import Order, numbers_as_text, ordered, outputs
from kinema.data.label_sets import SEPARATOR, label_set
from kinema.data.labels import read_label_file
from kinema.data.paths import nearest_name
from kinema.data.shards.remote import survey_address
from kinema.data.sources import (
    ABSENTEES,
    FLIP_MAP,
    LABELS,
    TABLE,
    Notes,
    Sample,
    check_paths,
    clean_label,
    read_table,
    walk,
)
from kinema.errors import KinemaError, unknown
from kinema.files import is_stream, local_path, reach
from kinema.tables import read_text
from kinema.text import parse_json, plural

HELD_OUT = 0.2
ABSENT = "absent, left out"  # the reason in a ledger; such a video is not a failure
_ORDER = ("train", "val", "test")


@dataclass(frozen=True)
class Manifest:
    """A labelled data set.

    Attributes:
        source: the folder, CSV or catalogue that it was read from.
        samples: the samples, in the order of the CSV or of the annotation files, or sorted by path.
        labels: every label of the whole data set, in the order that `order` names; a split keeps all of them.
        flip_map: the label that each left- or right-handed label gets when a clip is mirrored, in both directions.
        held_out: True if the split `test` was chosen by Kinema, because the data have no splits.
        remarks: sentences that the user should read before trusting the manifest (files ignored, split chosen).
        absent: split -> videos that the annotation of a catalogue lists but that do not exist, one entry per sample, as
            spelled in the annotation; for a packed data set, the videos in `absent.csv`. They are not among the
            samples.
        order: how the labels are ordered: `file` (labels.txt), `catalogue` (the order of public checkpoints), or if
            neither states an order, as `number` or as `text`.
        multi_label: True if a video may have any number of labels: some cell of the CSV has several, with semicolons.
    """

    source: str
    samples: tuple[Sample, ...]
    labels: tuple[str, ...]
    flip_map: dict[str, str] = field(default_factory=dict)
    held_out: bool = False
    remarks: tuple[str, ...] = ()
    absent: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    order: Order = "text"
    multi_label: bool = False

    def labels_of(self, sample: Sample) -> tuple[str, ...]:
        """Returns the labels of one sample: one, or any number if the data set is `multi_label`."""
        return label_set(sample.label) if self.multi_label else (sample.label,)

    @property
    def shown(self) -> set[str]:
        """Returns the labels that the samples have."""
        return {label for sample in self.samples for label in self.labels_of(sample)}

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits: train, val, test, then others."""
        names = {s.split for s in self.samples if s.split is not None}
        return (*(n for n in _ORDER if n in names), *sorted(names.difference(_ORDER)))

    @property
    def named_splits(self) -> tuple[str, ...]:
        """`splits`, followed by the splits of which no video exists."""
        return (*self.splits, *(name for name in self.absent if name not in self.splits))

    @property
    def all_absent(self) -> tuple[str, ...]:
        """The absent videos of all splits."""
        return tuple(name for names in self.absent.values() for name in names)

    def split(self, name: str) -> Manifest:
        """Returns the samples of one split, and its absent videos.

        Raises:
            KinemaError: the split does not exist (the message lists those that do), or all its videos are absent.
        """
        if name not in self.splits and name in self.absent:
            gone = plural(len(self.absent[name]), "video")
            raise KinemaError(
                f"{self.source}: its split {name!r} should have {gone}, but none exists: download some, or give "
                "another split"
            )
        if name not in self.splits:
            raise KinemaError(f"{self.source} has no split {name!r}: its splits are {', '.join(self.splits) or 'none'}")
        samples = tuple(s for s in self.samples if s.split == name)
        return replace(self, samples=samples, absent={k: v for k, v in self.absent.items() if k == name})

    def part(self, name: str) -> Manifest:
        """Returns what a test covers: a split, or everything for `all` if no split is called so; raises as `split`."""
        return self if name == "all" and "all" not in self.splits else self.split(name)


@dataclass(frozen=True)
class Survey:
    """The readable part of a manifest, and its problems."""

    manifest: Manifest
    findings: tuple[Finding, ...]


def read_manifest(data: str | Path, *, check: bool = True) -> Manifest:
    """Reads a data set.

    - A CSV with the columns `path,label` and optionally `split,start,end` (paths relative to the CSV, UTF-8; other
      columns are ignored), or a folder that contains such a file as `manifest.csv`.
    - A folder with `train/`, `val/`, `test/` … folders of class folders, or a folder of class folders. A class folder
      contains video files, or one folder of pictures per video, or both.
    - A catalogue with its folder, such as `something_v2:/data/ssv2` or `ucf101/2:/data/ucf` (`kinema.data.catalogues`).

    These files may be beside a CSV or in a folder:

    - `labels.txt`, one label per line, gives the order of the labels, and may list labels that have no video. Without
      it, the labels are sorted, by number if they are numbers (see `label_order.ordered`).
    - `flip_map.json` ({"step left": "step right"}) lists labels that are exchanged in a mirrored clip.
    - `absent.csv`, with the columns path and split, lists videos that belong to the data set but are missing: tests and
      trainings count them as absent.

    If the data have no splits, a fifth of the videos of every class, chosen by a hash of their relative paths, becomes
    `test`.

    If a cell of the column label contains several labels, as in `sit;read`, the data set has several labels per video;
    a single `;` then means none of them.

    Args:
        data: the folder, CSV or catalogue.
        check: check that every path of a CSV exists, and every video of a catalogue that can be downloaded completely.

    Returns:
        The videos with their labels and splits; `manifest.split("test")` returns a part of it.

    Raises:
        KinemaError: the data cannot be used for training or testing as they are; `survey` lists all problems.
    """
    found = survey(data, check=check)
    errors = [f for f in found.findings if f.severity == "error"]
    if errors:
        kinds = plural(len(errors) - 1, "other kind")
        more = f" (and {kinds} of error: run kinema data doctor {data})" if errors[1:] else ""
        if not more and len(errors[0].paths) > 1:
            more = f" (kinema data doctor {shlex.quote(str(data))} --json lists all)"
        raise KinemaError(errors[0].message + more)
    return found.manifest


def survey(data: str | Path, *, check: bool = True) -> Survey:
    """Reads the manifest of a data set (see `read_manifest`) and lists all its problems.

    Args:
        data: the folder, CSV or catalogue.
        check: same as for `read_manifest`.

    Raises:
        KinemaError: there is nothing to list: the folder does not exist or is empty, or a CSV lacks required columns.
    """
    catalogue = parse_catalogue(data)
    if catalogue is not None:
        found = list_catalogue(catalogue, check=check)
        notes = Notes(catalogue.root, list(found.findings))
        flips = _flip_map(catalogue.root, found.labels, notes) or found.flip_map
        return _survey(str(data), found.samples, found.labels, "catalogue", flips, notes, absent=found.absent)
    if is_address(os.fspath(data)) and not is_stream(os.fspath(data)):
        return survey_address(os.fspath(data), _survey_path, check=check)
    return _survey_path(Path(local_path(os.fspath(data))), check)


def _survey_path(source: Path, check: bool) -> Survey:
    if reach(source) is None:
        raise KinemaError(f"no folder or CSV at {str(source)!r}{nearest_name(source)}: correct the path")
    table = source / TABLE if source.is_dir() else source
    reach(table)
    notes = Notes(table if table.is_file() else source)
    if table.is_file():
        samples = read_table(table, notes)
        if check:
            check_paths(samples, table, notes)
    else:
        samples = walk(source, notes)
    root = table.parent
    several = table.is_file() and any(SEPARATOR in s.label for s in samples)
    named = [s.split is not None for s in samples]
    held_out = not any(named)
    if held_out:
        samples = list(hold_out(samples, root, by_class=not several))
    elif not all(named):
        paths = tuple(s.path for s in samples if s.split is None)
        message = f"{notes.source}: {plural(len(paths), 'row')} without a split although others have one: fill in all"
        notes.findings.append(Finding("error", "no-split", message, paths))
    names = (label for s in samples for label in (label_set(s.label) if several else (s.label,)))
    labels, order = _labels(root / LABELS, names, notes)
    flips, absent = _flip_map(root, labels, notes), _absent(root / ABSENTEES, samples, notes)
    return _survey(
        str(source), samples, labels, order, flips, notes, held_out=held_out, absent=absent, multi_label=several
    )


def _survey(
    source: str,
    samples: Sequence[Sample],
    labels: tuple[str, ...],
    order: Order,
    flip_map: dict[str, str],
    notes: Notes,
    *,
    held_out: bool = False,
    absent: Mapping[str, tuple[str, ...]] | None = None,
    multi_label: bool = False,
) -> Survey:
    findings = notes.all()
    remarks = [f.message for f in findings if f.severity == "warning"]
    if held_out:
        of = "videos" if multi_label else "videos of every class"
        remarks.append(f"{source} has no splits: a fifth of the {of} is held out as test")
    manifest = Manifest(
        source, tuple(samples), labels, flip_map, held_out, tuple(remarks), absent or {}, order, multi_label
    )
    return Survey(manifest, findings)


def _labels(file: Path, names: Iterable[str], notes: Notes) -> tuple[tuple[str, ...], Order]:
    """Returns the labels in `labels.txt`, in its order; without such a file, those of the samples, sorted."""
    found, order = ordered(names)
    if not file.is_file():
        if order == "number" and found[1:]:
            message = f"{notes.source}: the labels are ordered by number, which is a guess ({outputs(found)}): "
            message += "for weights from elsewhere, write labels.txt, one label per line in the order of the outputs"
            notes.findings.append(Finding("warning", "label-order", message))
        return found, order
    try:
        labels = read_label_file(file)
        for name in found:
            if name not in labels:
                raise KinemaError(f"{file}: {unknown('label of the data', name, labels)}")
    except KinemaError as error:
        notes.findings.append(Finding("error", "labels", str(error)))
        return found, order
    odd = numbers_as_text(labels)
    if odd is not None:
        message = f"{file} orders numbers as text ({odd!r} is output {labels.index(odd)}): if this is not intended, "
        message += "order the lines by number"
        notes.findings.append(Finding("warning", "label-order", message))
    return labels, "file"


def _flip_map(root: Path, labels: tuple[str, ...], notes: Notes) -> dict[str, str]:
    try:
        return read_flip_map(root / FLIP_MAP, labels)
    except KinemaError as error:
        notes.findings.append(Finding("error", "flip-map", str(error)))
        return {}


def _absent(file: Path, samples: Iterable[Sample], notes: Notes) -> dict[str, tuple[str, ...]]:
    """Reads the videos in `absent.csv`, by split; nothing if there is no such file."""
    if not file.is_file():
        return {}
    try:
        found = read_absent(file, {(s.path, s.split) for s in samples})
    except KinemaError as error:
        notes.findings.append(Finding("error", "absent", str(error)))
        return {}
    if found:
        counts = ", ".join(f"{len(names)} of the split {split!r}" for split, names in found.items())
        first = next(iter(found.values()))[0]
        message = f"{file}: videos that belong to the data set but are missing: {counts} (the first is {first})"
        paths = tuple(f"{name} ({split})" for split, names in found.items() for name in names)
        notes.findings.append(Finding("warning", "absent", message, paths))
    return found


def data_root(data: str | Path) -> Path:
    """Returns the folder of the videos of a source, to which its paths are relative."""
    catalogue = parse_catalogue(data)
    if catalogue is not None:
        return catalogue.root
    path = Path(data)
    return path if path.is_dir() or is_address(os.fspath(data)) else path.parent


def data_name(data: str | Path) -> str:
    """Returns a short name of a source, valid on every file system: `ucf101-1`, `kinetics400`, `puppets`."""
    catalogue = parse_catalogue(data)
    if catalogue is not None:
        return catalogue.short
    path = Path(data)
    named = path.parent if path.name == "manifest.csv" else path
    name = named.stem if named.suffix.lower() == ".csv" else named.resolve().name
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "data"


def data_place(data: str | Path) -> str:
    """Returns one spelling for all ways to give the same source: relative, by a link, a folder or the CSV in it."""
    try:
        catalogue = parse_catalogue(data)
        if catalogue is not None:
            return f"{catalogue.name}/{catalogue.part}:{catalogue.root.resolve()}"
        path = Path(local_path(os.fspath(data)))
        return str((path.parent if path.name == "manifest.csv" else path).resolve())
    except (OSError, ValueError, RuntimeError):  # not readable; RuntimeError: a loop of links
        return os.fspath(data)


def require_trainable(manifest: Manifest) -> None:
    """Rejects a manifest on which no classifier can be trained.

    Raises:
        KinemaError: there are no samples, or the samples have fewer than two labels.
    """
    labels = manifest.shown
    if not manifest.samples:
        raise KinemaError(f"{manifest.source} contains no video to train on: add some, or give another split")
    if len(labels) < 2 and not manifest.multi_label:
        raise KinemaError(f"{manifest.source} contains only one class ({labels.pop()!r}): add videos of another class")


def hold_out(samples: Sequence[Sample], root: Path, *, by_class: bool = True) -> tuple[Sample, ...]:
    """Assigns every sample to the split `train` or `test`, by video, so that no video is in both.

    Per class, the fifth of the videos whose relative paths have the smallest hashes is held out (at least one, if there
    are two or more): the same files give the same split on every machine. Without `by_class`, a fifth of all videos is
    held out.
    """
    by_label: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        by_label[sample.label if by_class else ""].add(sample.path)
    test: set[str] = set()
    train: set[str] = set()
    for label in sorted(by_label):
        paths = sorted(by_label[label], key=lambda path: _hash(path, root))
        wanted = max(1, round(len(paths) * HELD_OUT)) if len(paths) > 1 else 0
        wanted -= len(test.intersection(paths))
        free = [path for path in paths if path not in test and path not in train]
        test.update(free[: max(0, wanted)])
        train.update(free[max(0, wanted) :])
    return tuple(replace(s, split="test" if s.path in test else "train") for s in samples)


def read_flip_map(file: Path, labels: Iterable[str]) -> dict[str, str]:
    """Reads `flip_map.json` and makes it symmetric; {} if it does not exist.

    Raises:
        KinemaError: it is not an object of labels to labels, has an unknown label, or gives a label two partners.
    """
    if not file.is_file():
        return {}
    try:
        pairs = parse_json(read_text(file))
    except ValueError as error:
        raise KinemaError(f"{file} is not JSON ({error}): write it as {{label: mirrored label}}") from error
    if not isinstance(pairs, dict) or not all(isinstance(name, str) for name in pairs.values()):
        raise KinemaError(f"{file} is not a JSON object of labels: write it as {{label: mirrored label}}")
    symmetric: dict[str, str] = {}
    known = list(labels)
    for pair in pairs.items():
        first, second = (clean_label(name) for name in pair)
        for name in (first, second):
            if name not in known:
                raise KinemaError(f"{file}: {unknown('label', name, known)}")
        for name, other in ((first, second), (second, first)):
            if symmetric.setdefault(name, other) != other:
                raise KinemaError(
                    f"{file} swaps {name!r} with {symmetric[name]!r} and with {other!r}: keep one of them"
                )
    return symmetric


def _hash(path: str, root: Path) -> str:
    file = Path(path)
    relative = file.relative_to(root) if file.is_relative_to(root) else file
    return hashlib.sha256(os.fsencode(relative.as_posix())).hexdigest()
