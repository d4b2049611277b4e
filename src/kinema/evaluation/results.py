"""The files of a test: `metrics.json`, `scores.parquet` (one row a video), `ledger.csv` (what is unread or absent)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinema.data.manifest import ABSENT, data_place, data_root
from kinema.data.paths import relative
from kinema.errors import KinemaError
from kinema.evaluation.metrics import true_ranks
from kinema.evaluation.runner import TestResult
from kinema.files import replace_file
from kinema.recognizer import Recognizer, versions
from kinema.tables import write_csv
from kinema.text import plural, printable

METRICS, SCORES, LEDGER = "metrics.json", "scores.parquet", "ledger.csv"
_LABELS, _ROOT, _DIGEST = b"kinema.labels", b"kinema.root", b"kinema.sha256"
_OTHER = {"recognizer": "another recognizer", "data": "other data", "split": "another split", "views": "other views"}
# What reading a damaged table raises, apart from a sentence of ours.
_UNSOUND = (pa.ArrowException, OSError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class Scores:
    """What `scores.parquet` holds, one entry a video in the order of the test.

    Attributes:
        labels: K names, in the order of the scores.
        root: the folder that relative paths start from.
        paths: N, relative to `root` where they lie below it.
        spans: N pairs of start and end in seconds; None is the beginning or the end of the video.
        truth: N labels.
        predictions: N labels, or None for a video that could not be read.
        scores: float32 N K; NaN for a video that could not be read.
        errors: N, why a video could not be read, or None.
        sizes: N, bytes of a video's file or of the pictures in its folder; None where it was not there, and in tests
            that do not tell.
    """

    labels: tuple[str, ...]
    root: str
    paths: tuple[str, ...]
    spans: tuple[tuple[float | None, float | None], ...]
    truth: tuple[str, ...]
    predictions: tuple[str | None, ...]
    scores: NDArray[np.float32]
    errors: tuple[str | None, ...]
    sizes: tuple[int | None, ...]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """N, right or wrong; a video that could not be read is wrong."""
        place = {label: i for i, label in enumerate(self.labels)}
        return true_ranks(np.array([place[label] for label in self.truth], dtype=np.int64), self.scores) < 1


@dataclass(frozen=True)
class Test:
    """What was tested on what: two tests that agree in this are the same test.

    Attributes:
        recognizer: as it was given.
        data: as it was given.
        split: name of the split, or `all`.
        views: `CLIPSxCROPS`.
    """

    __test__ = False  # not a test of pytest's

    recognizer: str
    data: str
    split: str
    views: str

    def to_dict(self) -> dict[str, str]:
        """Plain values, local paths in full: a relative path means another place from another folder."""
        recognizer = self.recognizer
        if not recognizer.startswith("hf-hub:"):
            recognizer = str(Path(recognizer).resolve())
        return {"recognizer": recognizer, "data": data_place(self.data), "split": self.split, "views": self.views}


def document(result: TestResult, recognizer: Recognizer, test: Test) -> dict[str, Any]:
    """All of `metrics.json`: what was tested, how, with what, and the figures with their coverage."""
    spec, clips = recognizer.spec, plural(result.views.clips, "clip")
    return {
        "test": test.to_dict(),
        "metrics": result.metrics.to_dict(),
        "views": result.views.to_dict(),
        "protocol": {
            "clip": spec.to_dict(),
            "sampler": f"{spec.sampler}, {clips} of {plural(spec.frames, 'frame')} at fixed places",
            "crop": f"{spec.test_crop or spec.crop} of short side {spec.short_side}, at {spec.crop}x{spec.crop}",
            "fusion": "softmax scores averaged over views",
            "unreadable": "counted as errors",
            "randomness": "none but the bootstrap",
        },
        "root": str(data_root(result.source).resolve()),
        "architecture": recognizer.model.architecture,
        "training": recognizer.card.get("training"),
        "versions": versions(),
    }


def require_free(out: Path, test: Test, *, overwrite: bool = False) -> None:
    """Refuses a folder that holds the files of something else; the same test again replaces its own files.

    Raises:
        KinemaError: `out` holds another test, or files with the names of a test's that are not known to be one.
    """
    if out.exists() and not out.is_dir():
        raise KinemaError(f"{out}: is a file; give a folder as --out")
    held = [name for name in (METRICS, SCORES, LEDGER) if (out / name).exists()]
    if not held or overwrite:
        return
    try:
        old = json.loads((out / METRICS).read_text(encoding="utf-8"))["test"]
    except (OSError, ValueError, KeyError, TypeError):
        old = None
    if old is None:
        raise KinemaError(f"{out}: {held[0]} there is not of a finished test; give another --out, or --overwrite")
    there = old if isinstance(old, dict) else {}
    if isinstance(there.get("data"), str):
        there = {**there, "data": data_place(there["data"])}  # an earlier version wrote it otherwise
    changed = [
        f"{_OTHER[key]} ({there.get(key)} there)" for key, value in test.to_dict().items() if there.get(key) != value
    ]
    if changed:
        differs = " and ".join(changed)
        raise KinemaError(f"{out}: holds a test with {differs}; give another --out, or --overwrite")


def write_results(out: Path, result: TestResult, recognizer: Recognizer, test: Test) -> None:
    """Writes the three files, each in one step, `metrics.json` last.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    table = _table(result)
    root = data_root(result.source)
    ledger = [(relative(path, root), reason) for path, reason in result.failures]
    ledger += [(name, ABSENT) for name in result.absent]
    text = printable(json.dumps(document(result, recognizer, test), indent=2, ensure_ascii=False)) + "\n"
    replace_file(out / SCORES, lambda part: _write_table(table, part))
    write_csv(out / LEDGER, ("path", "error"), ledger)
    replace_file(out / METRICS, lambda part: part.write_text(text, encoding="utf-8"))


def read_scores(path: str | Path) -> Scores:
    """Reads the scores of a test.

    Args:
        path: a `scores.parquet`, or the folder that holds it.

    Raises:
        KinemaError: no such file, or not one that `kinema test` wrote, or damaged since.
    """
    path = Path(path)
    file = path / SCORES if path.is_dir() else path
    if not file.is_file():
        raise KinemaError(f"{file}: there are no scores; make them with kinema test")
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            return _scores(parquet.read())
    except _UNSOUND as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise KinemaError(f"{file}: not the scores of a test, or damaged ({reason}); test again") from error


def _scores(table: pa.Table) -> Scores:
    """Raises one of `_UNSOUND` for what is not, or is no longer, a table of `_table`'s."""
    metadata = table.schema.metadata or {}
    # The checksums of the pages leave the footer out, in which names, labels and places of columns stand.
    if _DIGEST in metadata and metadata[_DIGEST].decode() != _digest(table):
        raise ValueError("its content is not what was written")
    labels = tuple(json.loads(metadata[_LABELS]))
    rows = {name: table[name].to_pylist() for name in ("path", "label", "prediction", "error", "start", "end")}
    scores = np.full((table.num_rows, len(labels)), np.nan, dtype=np.float32)
    readable = np.array([error is None for error in rows["error"]], dtype=bool)
    scores[readable] = table["scores"].combine_chunks().flatten().to_numpy().reshape(-1, len(labels))
    if not np.isfinite(scores[readable]).all():
        raise ValueError("some of its scores are no numbers")
    said: list[str | None] = [None] * table.num_rows
    for i, best in zip(np.flatnonzero(readable), scores[readable].argmax(1), strict=True):
        said[i] = labels[best]
    known = set(labels)
    for path, label, prediction, best_label in zip(rows["path"], rows["label"], rows["prediction"], said, strict=True):
        if prediction != best_label:
            raise ValueError(f"{prediction!r} is not the label with the highest score of {path!r}")
        if path is None or label not in known:
            raise ValueError(f"the label {label!r} of {path!r} is none of its labels")
    return Scores(
        labels=labels,
        root=metadata[_ROOT].decode(),
        paths=tuple(rows["path"]),
        spans=tuple(zip(rows["start"], rows["end"], strict=True)),
        truth=tuple(rows["label"]),
        predictions=tuple(rows["prediction"]),
        scores=scores,
        errors=tuple(rows["error"]),
        sizes=tuple(table["size"].to_pylist()) if "size" in table.column_names else (None,) * table.num_rows,
    )


def _table(result: TestResult) -> pa.Table:
    root = data_root(result.source)
    readable = np.array([error is None for error in result.errors], dtype=bool)
    ends = np.concatenate([[0], np.cumsum(readable * len(result.labels))])
    values = pa.array(result.scores[readable].ravel(), pa.float32())
    lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values, mask=pa.array(~readable))
    columns = {
        "path": pa.array([relative(s.path, root) for s in result.samples], pa.string()),
        "label": pa.array([printable(s.label) for s in result.samples], pa.string()),
        "prediction": pa.array([None if p is None else printable(p) for p in result.predictions], pa.string()),
        "scores": lists,
        "error": pa.array([None if e is None else printable(e) for e in result.errors], pa.string()),
        "start": pa.array([s.start for s in result.samples], pa.float64()),
        "end": pa.array([s.end for s in result.samples], pa.float64()),
        "size": pa.array([_size(Path(s.path)) for s in result.samples], pa.int64()),
        "distinct_views": pa.array([None if p is None else p.distinct for p in result.proofs], pa.int32()),
    }
    names = json.dumps([printable(label) for label in result.labels], ensure_ascii=False).encode()
    metadata = {_LABELS: names, _ROOT: printable(str(root.resolve())).encode()}
    table = pa.table(columns).replace_schema_metadata(metadata)
    return table.replace_schema_metadata(metadata | {_DIGEST: _digest(table).encode()})


def _digest(table: pa.Table) -> str:
    """Of the values, not of the bytes of a file: another release of pyarrow may lay out the same table otherwise."""
    digest = hashlib.sha256()
    for key in (_LABELS, _ROOT):
        digest.update(table.schema.metadata[key] + b"\n")
    for name in table.column_names:
        column = table[name]
        if name == "scores":
            digest.update(column.combine_chunks().flatten().cast(pa.float32()).to_numpy().tobytes())
            column = pc.list_value_length(column)
        digest.update(json.dumps([name, column.to_pylist()]).encode())
    return digest.hexdigest()


def _size(video: Path) -> int | None:
    """Bytes of a file or of all pictures in a folder: what tells other videos of the same names apart, at no cost."""
    try:
        parts = video.iterdir() if video.is_dir() else [video]
        return sum(part.stat().st_size for part in parts)
    except (OSError, ValueError):  # not there, or a name that no file can have
        return None


def _write_table(table: pa.Table, part: Path) -> None:
    with part.open("wb") as file:  # Python's file, so that a full disk raises Python's OSError with its reason
        pq.write_table(table, file, write_page_checksum=True)
