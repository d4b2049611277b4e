"""The files of a test: `metrics.json`, `scores.parquet` and `ledger.csv`.

`scores.parquet` has one row per video; `ledger.csv` lists the unreadable and the absent videos.
"""

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

from kinema.data.label_sets import label_set
from kinema.data.manifest import ABSENT, data_place
from kinema.errors import KinemaError
from kinema.evaluation.result import TestResult, predicted
from kinema.evaluation.selection import described
from kinema.files import replace_file
from kinema.recognizer import Recognizer, versions
from kinema.tables import write_csv
from kinema.text import parse_json, plural, printable

METRICS, SCORES, LEDGER = "metrics.json", "scores.parquet", "ledger.csv"
_LABELS, _ROOT, _DIGEST = b"kinema.labels", b"kinema.root", b"kinema.sha256"
_SEVERAL = b"kinema.multi_label"  # column of multi-label tests
_PACKED = b"kinema.packed_root"  # column of tests on packed copies
_OTHER = {"recognizer": "another recognizer", "data": "other data", "split": "another split", "views": "other views"}
# Errors of reading a damaged table, other than our own.
_UNSOUND = (pa.ArrowException, OSError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class Test:
    """The identity of a test: two tests with equal values are the same test.

    Attributes:
        recognizer: the recognizer as given.
        data: the data as given.
        split: name of the split, or `all`.
        views: `CLIPSxCROPS`, and the seed if clips are random, from `protocol_name`.
    """

    __test__ = False  # not a test for pytest

    recognizer: str
    data: str
    split: str
    views: str

    def to_dict(self) -> dict[str, str]:
        """Returns plain values, with absolute local paths, because a relative path depends on the current folder."""
        recognizer = self.recognizer
        if not recognizer.startswith("hf-hub:"):
            recognizer = str(Path(recognizer).resolve())
        return {"recognizer": recognizer, "data": data_place(self.data), "split": self.split, "views": self.views}


def document(result: TestResult, recognizer: Recognizer, test: Test) -> dict[str, Any]:
    """Returns the content of `metrics.json`: the recognizer and data, the protocol, and the figures with coverage.

    Raises:
        KinemaError: the result has no views.
    """
    if result.views is None:
        raise KinemaError("this result was read from scores.parquet only, without its views: read it with open_test")
    spec, clips, seed = recognizer.spec, plural(result.views.clips, "clip"), result.views.random_clips
    chosen = described(recognizer.card, test.data, test.split)
    places = "at fixed places" if seed is None else f"drawn as in training with seed {seed}"
    return {
        "test": test.to_dict(),
        "metrics": (result.set_metrics if result.multi_label else result.metrics).to_dict(),
        **({"multi_label": True} if result.multi_label else {}),
        "views": result.views.to_dict(),
        "protocol": {
            "clip": spec.to_dict(),
            "sampler": f"{spec.sampler}, {clips} of {plural(spec.frames, 'frame')} {places}",
            "crop": f"{spec.test_crop or spec.crop} of short side {spec.short_side}, at {spec.crop}x{spec.crop}",
            "fusion": f"{'sigmoid' if result.multi_label else 'softmax'} scores averaged over views",
            **({} if recognizer.precision == "32" else {"precision": recognizer.precision}),
            "unreadable": "counted as errors",
            "randomness": _randomness(seed, multi_label=result.multi_label),
        },
        "root": result.root,
        "architecture": recognizer.model.architecture,
        "training": recognizer.card.get("training"),
        **({} if chosen is None else {"selection": chosen}),
        "versions": versions(),
    } | ({} if recognizer.report is None else {"optimized": recognizer.report.to_dict()})


def _randomness(seed: int | None, *, multi_label: bool) -> str:
    drawn = [] if seed is None else [f"clips by seed {seed}"]
    drawn += ["the bootstrap of the mAP"] if multi_label else []
    return " and ".join(drawn) or "none"


def require_free(out: Path, test: Test, *, overwrite: bool = False) -> None:
    """Rejects a folder with the files of another test; the same test may replace its own files.

    Raises:
        KinemaError: `out` contains another test, or files with the names of a test's files that are not from a test.
    """
    if out.exists() and not out.is_dir():
        raise KinemaError(f"{out}: is a file; give a folder as --out")
    held = [name for name in (METRICS, SCORES, LEDGER) if (out / name).exists()]
    if not held or overwrite:
        return
    try:
        old = parse_json((out / METRICS).read_text(encoding="utf-8"))["test"]
    except (OSError, ValueError, KeyError, TypeError):
        old = None
    if old is None:
        raise KinemaError(
            f"{out}: contains {held[0]}, which is not from a finished test; give another --out, or --overwrite"
        )
    there = old if isinstance(old, dict) else {}
    if isinstance(there.get("data"), str):
        there = {**there, "data": data_place(there["data"])}  # an earlier version wrote it in another form
    changed = [
        f"{_OTHER[key]} ({there.get(key)} there)" for key, value in test.to_dict().items() if there.get(key) != value
    ]
    if changed:
        differs = " and ".join(changed)
        raise KinemaError(f"{out}: contains a test with {differs}; give another --out, or --overwrite")


def write_results(out: Path, result: TestResult, recognizer: Recognizer, test: Test) -> None:
    """Writes the three files, each in one step, `metrics.json` last.

    Raises:
        KinemaError: the result has no views.
        RunError: the disk is full or the folder cannot be written.
    """
    table = _table(result)
    ledger = [*result.failures, *((name, ABSENT) for name in result.absent)]
    text = printable(json.dumps(document(result, recognizer, test), indent=2, ensure_ascii=False)) + "\n"
    replace_file(out / SCORES, lambda part: _write_table(table, part))
    write_csv(out / LEDGER, ("path", "error"), ledger)
    replace_file(out / METRICS, lambda part: part.write_text(text, encoding="utf-8"))


def read_scores(path: str | Path) -> TestResult:
    """Reads the scores of a test.

    `open_test` reads its `metrics.json` as well.

    Args:
        path: a `scores.parquet`, or the folder that contains it.

    Raises:
        KinemaError: there is no such file, it was not written by `kinema test`, or it is damaged.
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


def _scores(table: pa.Table) -> TestResult:
    """Raises one of `_UNSOUND` if it is not an undamaged table written by `_table`."""
    metadata = table.schema.metadata or {}
    # The checksums of the pages do not cover the footer, which contains names, labels and positions of columns.
    if _DIGEST in metadata and metadata[_DIGEST].decode() != _digest(table):
        raise ValueError("its content was changed or damaged")
    labels = tuple(parse_json(metadata[_LABELS]))
    rows = {name: table[name].to_pylist() for name in ("path", "label", "prediction", "error", "start", "end")}
    scores = np.full((table.num_rows, len(labels)), np.nan, dtype=np.float32)
    readable = np.array([error is None for error in rows["error"]], dtype=bool)
    scores[readable] = table["scores"].combine_chunks().flatten().to_numpy().reshape(-1, len(labels))
    if not np.isfinite(scores[readable]).all():
        raise ValueError("some of its scores are not numbers")
    several = _SEVERAL in metadata
    said: list[str | None] = [None] * table.num_rows
    for i in np.flatnonzero(readable):
        said[i] = predicted(labels, scores[i], multi_label=several)
    known = set(labels)
    for path, label, prediction, best_label in zip(rows["path"], rows["label"], rows["prediction"], said, strict=True):
        if prediction != best_label:
            what = "not the label with the highest score" if not several else "not the labels with scores from 0.5 on"
            raise ValueError(f"{prediction!r} is {what} of {path!r}")
        if path is None or label is None or not known.issuperset(label_set(label) if several else (label,)):
            raise ValueError(f"the label {label!r} of {path!r} is not one of its labels")
    return TestResult(
        labels=labels,
        root=metadata[_ROOT].decode(),
        paths=tuple(rows["path"]),
        spans=tuple(zip(rows["start"], rows["end"], strict=True)),
        truth=tuple(rows["label"]),
        scores=scores,
        errors=tuple(rows["error"]),
        sizes=_optional(table, "size"),
        distinct_views=_optional(table, "distinct_views"),
        multi_label=several,
        packed_from=tuple(table["packed_from"].to_pylist()) if _PACKED in metadata else (),
        packed_root=metadata.get(_PACKED, b"").decode(),
    )


def _optional(table: pa.Table, name: str) -> tuple[int | None, ...]:
    """Returns a column of integers that older files do not have."""
    return tuple(table[name].to_pylist()) if name in table.column_names else (None,) * table.num_rows


def _table(result: TestResult) -> pa.Table:
    readable = np.array([error is None for error in result.errors], dtype=bool)
    ends = np.concatenate([[0], np.cumsum(readable * len(result.labels))])
    values = pa.array(result.scores[readable].ravel(), pa.float32())
    lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values, mask=pa.array(~readable))
    columns = {
        "path": pa.array(list(result.paths), pa.string()),
        "label": pa.array([printable(label) for label in result.truth], pa.string()),
        "prediction": pa.array([None if p is None else printable(p) for p in result.predictions], pa.string()),
        "scores": lists,
        "error": pa.array([None if e is None else printable(e) for e in result.errors], pa.string()),
        "start": pa.array([start for start, _ in result.spans], pa.float64()),
        "end": pa.array([end for _, end in result.spans], pa.float64()),
        "size": pa.array(list(result.sizes), pa.int64()),
        "distinct_views": pa.array(list(result.distinct_views), pa.int32()),
    }
    if result.packed_from:
        columns["packed_from"] = pa.array([printable(path) for path in result.packed_from], pa.string())
    names = json.dumps([printable(label) for label in result.labels], ensure_ascii=False).encode()
    metadata = {_LABELS: names, _ROOT: printable(result.root).encode()}
    metadata |= {_SEVERAL: b"true"} if result.multi_label else {}
    metadata |= {_PACKED: printable(result.packed_root).encode()} if result.packed_from else {}
    table = pa.table(columns).replace_schema_metadata(metadata)
    return table.replace_schema_metadata(metadata | {_DIGEST: _digest(table).encode()})


def _digest(table: pa.Table) -> str:
    """Returns a hash of the values, not of the file: other releases of pyarrow may write the same table differently."""
    digest = hashlib.sha256()
    for key in (_LABELS, _ROOT, *(key for key in (_SEVERAL, _PACKED) if key in table.schema.metadata)):
        digest.update(table.schema.metadata[key] + b"\n")
    for name in table.column_names:
        column = table[name]
        if name == "scores":
            digest.update(column.combine_chunks().flatten().cast(pa.float32()).to_numpy().tobytes())
            column = pc.list_value_length(column)
        digest.update(json.dumps([name, column.to_pylist()]).encode())
    return digest.hexdigest()


def _write_table(table: pa.Table, part: Path) -> None:
    with part.open("wb") as file:  # a Python file, so that a full disk raises an OSError with its reason
        pq.write_table(table, file, write_page_checksum=True)
