"""Reads labelled videos from a CSV or from folders of classes, and collects their problems."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kinema.data.clutter import is_clutter
from kinema.data.findings import Finding
from kinema.data.label_sets import SEPARATOR, joined, label_set
from kinema.data.paths import doubt, locate, nearest_name
from kinema.data.shards.index import ShardIndex, check_shard, read_index
from kinema.data.shards.names import split_member
from kinema.data.split_names import TEST, TRAIN, VALIDATION
from kinema.data.video import SUFFIXES, is_video
from kinema.errors import KinemaError, unknown
from kinema.files import is_folder, local_path, look_up, reason
from kinema.tables import read_csv_file
from kinema.text import plural

UNREACHABLE = "unreachable"  # code of a finding: paths that may exist but cannot be reached
FLIP_MAP, LABELS, ABSENTEES = "flip_map.json", "labels.txt", "absent.csv"  # optional files beside the videos
TABLE = "manifest.csv"
_SPLITS = (*TRAIN, *VALIDATION, *TEST)
_LINE_BREAK = re.compile("\\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\\s*")  # all line breaks of `splitlines`


@dataclass(frozen=True)
class Sample:
    """One labelled video, or the part of it from `start` to `end`.

    Attributes:
        path: path of the video file or frame folder.
        label: its label; in a data set with several labels per video all of them, separated by semicolons.
        split: `train`, `val`, `test` or any other name; None if the data have no splits.
        start: start of the part, in seconds from the first frame; None is the beginning.
        end: end of the part, in seconds; None is the end.
    """

    path: str
    label: str
    split: str | None = None
    start: float | None = None
    end: float | None = None


@dataclass
class Notes:
    """Collects the problems of a source: rows of a CSV with the same problem become one finding."""

    source: Path
    findings: list[Finding] = field(default_factory=list)
    rows: dict[str, list[tuple[int, str, str]]] = field(default_factory=lambda: defaultdict(list))

    def row(self, code: str, line: int, message: str, path: str) -> None:
        """Records a problem of one row."""
        self.rows[code].append((line, message, path))

    def all(self) -> tuple[Finding, ...]:
        """Returns the findings, one per kind."""
        found = list(self.findings)
        for code, rows in self.rows.items():
            line, message, _ = rows[0]
            more = f" (and {plural(len(rows) - 1, 'other such row')})" if rows[1:] else ""
            paths = tuple(f"line {at}: {path}" for at, _, path in rows)
            found.append(Finding("error", code, f"{self.source} line {line}: {message}{more}", paths))
        return tuple(found)


class _BadRowError(Exception):
    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def read_table(table: Path, notes: Notes, *, may_be_empty: bool = False) -> list[Sample]:
    """Reads the valid rows of a CSV (see `read_csv_file` for its forms); invalid ones become notes.

    Args:
        table: the CSV.
        notes: receives the problems.
        may_be_empty: accept a table without rows, such as one before the first segment is labelled.

    Raises:
        KinemaError: it is not a CSV with the columns path and label, or it has no row although it must not be empty.
    """
    if table.suffix.lower() != ".csv":
        raise KinemaError(f"{table} is neither a folder nor a .csv file: give a folder of class folders or a CSV")
    found = read_csv_file(table, ("path", "label"), "write it again with the columns path,label")
    head, *rows = found.rows or [(1, [])]
    header = [name.strip() for name in head[1]]
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise KinemaError(f"{table} has two columns {twice!r}: rename or remove one of them")
    for column in ("path", "label"):
        if column not in header:
            near = unknown("column", column, header) if header else "the file is empty"
            raise KinemaError(f"{table} has no column {column!r} in its first line ({near}): it needs path,label")
    samples = []
    seen: dict[tuple[str, float | None, float | None], tuple[int, Sample]] = {}
    for line, row in rows:
        try:
            sample = _read_row(row, header, table.parent, found.delimiter)
        except _BadRowError as bad:
            notes.row(bad.code, line, str(bad), " ".join(found.delimiter.join(row).split()))
            continue
        first, other = seen.setdefault((sample.path, sample.start, sample.end), (line, sample))
        if first == line:
            samples.append(sample)
        elif sample == other:
            notes.row("duplicate-row", line, f"repeats line {first}: remove one of them", sample.path)
        elif sample.label != other.label:
            message = f"{sample.path} has the label {sample.label!r} but {other.label!r} in line {first}: keep one, or "
            message += (
                f"write {joined({*label_set(sample.label), *label_set(other.label)})!r} in one line if both apply"
            )
            notes.row("two-labels", line, message, sample.path)
        else:
            message = f"{sample.path} is in split {sample.split!r} but in {other.split!r} in line {first}: keep one row"
            notes.row("two-splits", line, message, sample.path)
    spelt: dict[str, str] = {}
    for name in sorted({s.split for s in samples if s.split is not None}):
        alike = spelt.setdefault(name.lower(), name)
        if alike != name:
            message = f"{table}: the splits {alike!r} and {name!r} differ only in capitals: use one spelling"
            notes.findings.append(Finding("error", "split-capitals", message))
    if not rows and not may_be_empty:
        raise KinemaError(f"{table} has no rows below its first line: add one row per video")
    return samples


def _read_row(row: list[str], header: list[str], root: Path, delimiter: str) -> Sample:
    if len(row) != len(header):
        fields = f"{plural(len(row), 'field')} under {plural(len(header), 'column')}"
        fix = f"quote a path that contains {delimiter!r}" if len(row) > len(header) else "add what is missing"
        raise _BadRowError("row-width", f"{fields}: {fix}")
    cells = dict(zip(header, row, strict=True))
    path, label = cells["path"], clean_label(cells["label"])
    if not path.strip():
        raise _BadRowError("empty-path", "the path is empty: fill it in or remove the row")
    try:
        path = local_path(path)
    except KinemaError as error:
        raise _BadRowError("address", str(error)) from error
    if not label:
        raise _BadRowError("empty-label", "the label is empty: fill it in or remove the row")
    if delimiter in label and _LINE_BREAK.search(cells["label"].strip()):
        message = f"the label {label[:40]!r} has several lines and contains {delimiter!r}: remove an extra quote"
        raise _BadRowError("quote", message)
    if SEPARATOR in label:
        label = joined(label_set(label))
    # If semicolons separate the cells, programs write 0,5 for a half.
    point = "." if delimiter == "," else ","
    start, end = (_seconds(column, cells.get(column, "").strip().replace(point, ".")) for column in ("start", "end"))
    if end is not None and (start or 0.0) >= end:
        raise _BadRowError("bad-time", f"start {start or 0:g} must be before end {end:g}: correct them")
    return Sample(str(locate(root, path)), label, cells.get("split", "").strip() or None, start, end)


def _seconds(column: str, text: str) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        value = math.nan
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise _BadRowError("bad-time", f"{column} is {text!r}: give seconds of at least 0, or leave it empty")
    return value


def check_paths(samples: list[Sample], table: Path, notes: Notes) -> None:
    """Records the paths of a CSV that do not exist; paths that cannot be reached stay, as unreadable videos."""
    absent: list[str] = []
    hidden: dict[str, str] = {}
    paths = dict.fromkeys(s.path for s in samples)
    sharded = {path: parts for path in paths if (parts := split_member(path))}
    whole = check_shards(sharded, notes)
    for path in paths:
        try:
            if path in sharded:
                shard, name = sharded[path]
                if shard in whole and name not in whole[shard].samples:
                    absent.append(path)
            elif look_up(path) is None:
                absent.append(path)
        except (OSError, ValueError) as error:
            hidden[path] = reason(error)
    if hidden:
        path, why = next(iter(hidden.items()))
        message = (
            f"{table}: {plural(len(hidden), 'path')} cannot be reached and will count as unreadable (the first is "
        )
        message += f"{path}: {why})"
        lines = tuple(f"{path}: {why}" for path, why in hidden.items())
        notes.findings.append(Finding("warning", UNREACHABLE, message, lines))
    missing = tuple(absent)
    if missing:
        named = ", ".join(repr(path) for path in missing[:3])
        first = Path(missing[0])
        odd = doubt(str(first.relative_to(table.parent) if first.is_relative_to(table.parent) else first))
        odd = f"; the first path is {odd}" if odd else nearest_name(first)
        message = f"{table}: {len(missing)} of {len({s.path for s in samples})} paths do not exist ({named}"
        message += f"{', …' if missing[3:] else ''}){odd}: correct them, they are relative to {table.parent}"
        notes.findings.append(Finding("error", "no-file", message, missing))


def check_shards(sharded: Mapping[str, tuple[str, str]], notes: Notes) -> dict[str, ShardIndex]:
    """Records the shards that cannot be read at all and those that are cut off; returns the indexes of the others.

    Args:
        sharded: path of a sample -> its shard and its name in the shard.
        notes: receives the problems.
    """
    found: dict[str, ShardIndex] = {}
    torn = []
    held: dict[str, list[str]] = defaultdict(list)
    for path, (shard, _) in sharded.items():
        held[shard].append(path)
    for shard, paths in held.items():
        try:
            odd = check_shard(shard)
            found[shard] = read_index(shard)
        except KinemaError as error:
            notes.findings.append(Finding("error", "shard", str(error), tuple(paths)))
            continue
        if odd:
            torn.append(odd)
    if torn:
        more = f" (and {plural(len(torn) - 1, 'other such shard')})" if torn[1:] else ""
        notes.findings.append(Finding("warning", "torn-shard", torn[0] + more, tuple(torn)))
    return found


def walk(root: Path, notes: Notes) -> list[Sample]:
    """Lists the videos of a folder of class folders, or of several such folders that are named like splits.

    Raises:
        KinemaError: none of them contains a video.
    """
    folders, loose = _children(root, notes)
    splits = [f for f in folders if f.name.lower() in _SPLITS and any(not _may_be_video(c) for c in _children(f)[0])]
    ignored = list(loose)
    samples: list[Sample] = []
    if splits:
        for split in folders:
            classes, files = _children(split, notes)
            ignored += files
            for folder in classes:
                samples += _class_folder(folder, split.name, notes, ignored)
    else:
        for folder in folders:
            samples += _class_folder(folder, None, notes, ignored)
    if not samples:
        raise KinemaError(_nothing(root, folders, loose, notes))
    _note_ignored(root, ignored, notes)
    return samples


def _children(folder: Path, notes: Notes | None = None) -> tuple[list[Path], list[Path]]:
    """Lists sub-folders and files, sorted, without files that systems leave there (see `is_clutter`).

    A folder that cannot be listed is an error in `notes`, because its number of videos is unknown.
    """
    try:
        visible = sorted(p for p in folder.iterdir() if not is_clutter(p.name))
    except OSError as error:
        if notes is not None:
            notes.findings.append(Finding("error", "unlistable", f"{folder}: {reason(error)}", (str(folder),)))
        visible = []
    folders = dict.fromkeys(p for p in visible if is_folder(p))
    return list(folders), [p for p in visible if p not in folders]


def _may_be_video(path: Path) -> bool:
    """True if a path looks like a video; also True if it cannot be reached: it is then an unreadable video."""
    try:
        if is_folder(path):
            next(path.iterdir(), None)
        elif path.suffix.lower() not in SUFFIXES:
            look_up(path)
        else:
            return True
        return is_video(path)
    except OSError:
        return True


def _class_folder(folder: Path, split: str | None, notes: Notes, ignored: list[Path]) -> list[Sample]:
    samples = []
    nested = []
    before = len(notes.findings)
    folders, files = _children(folder, notes)
    if len(notes.findings) > before:  # its content is unknown
        return []
    for child in sorted([*folders, *files]):
        if _may_be_video(child):
            samples.append(Sample(str(child), clean_label(folder.name), split))
        elif child in folders and any(is_video(p) for part in _children(child) for p in part):
            nested.append(str(child))
        else:
            ignored.append(child)
    if nested:
        message = f"{folder} contains folders with videos inside ({Path(nested[0]).name!r}): put the videos directly "
        message += "into the class folder, name the folders above the classes train, val and test, or write a CSV"
        notes.findings.append(Finding("error", "nested", message, tuple(nested)))
    elif not samples:
        hint = "put each of its picture sequences into its own folder" if is_video(folder) else "add some or remove it"
        message = f"class folder {folder} contains no video: {hint}"
        notes.findings.append(Finding("warning", "empty-class", message, (str(folder),)))
    return samples


def _nothing(root: Path, folders: list[Path], loose: list[Path], notes: Notes) -> str:
    if notes.findings:
        nested = [f for f in notes.findings if f.code == "nested"]
        return (nested or notes.findings)[0].message
    if not folders and not loose:
        return f"{root} is empty: put one folder of videos per class into it"
    if not folders:
        return f"{root} contains {plural(len(loose), 'file')} without class folders: make one per class, or write a CSV"
    return f"{root} contains no video in {plural(len(folders), 'folder')}: put the videos of each class into its folder"


def _note_ignored(root: Path, ignored: list[Path], notes: Notes) -> None:
    ignored = [p for p in ignored if p.name not in (LABELS, FLIP_MAP, ABSENTEES)]
    tables = [p for p in ignored if p.suffix.lower() == ".csv"]
    if tables:
        message = f"{root} was read by its folders, not by {tables[0].name}: give the CSV itself to use its splits"
        notes.findings.append(Finding("warning", "csv-not-read", message, tuple(map(str, tables))))
    others = tuple(str(p) for p in ignored if p not in tables)
    if others:
        message = (
            f"{root} contains {plural(len(others), 'item')} that {'are no videos' if others[1:] else 'is no video'}, "
            f"which will be ignored: rename or remove"
        )
        notes.findings.append(Finding("warning", "ignored", message, others))


def clean_label(text: str) -> str:
    """Returns a label on one line, without surrounding spaces and in one Unicode form, so that equal labels match.

    A line break, which a spreadsheet cell may contain but `labels.txt` could not, becomes a space.
    """
    return unicodedata.normalize("NFC", _LINE_BREAK.sub(" ", text.strip()))
