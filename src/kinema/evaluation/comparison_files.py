"""The files of a comparison: `comparison.json` with the figures, `disagreements.csv` with the videos behind them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kinema.errors import KinemaError
from kinema.evaluation.class_pairs import PairComparison
from kinema.evaluation.comparison import Comparison
from kinema.evaluation.many import ManyComparison
from kinema.evaluation.pairing import shared_rows
from kinema.evaluation.set_comparison import SetComparison
from kinema.evaluation.set_many import ManySets
from kinema.evaluation.tested import Tested
from kinema.files import replace_file
from kinema.tables import write_csv
from kinema.text import parse_json, printable

COMPARISON, DISAGREEMENTS = "comparison.json", "disagreements.csv"


def comparison_document(found: Comparison | SetComparison, pairs: Sequence[PairComparison] = ()) -> dict[str, Any]:
    """What `comparison.json` holds, and `kinema compare --json` prints.

    Args:
        found: two tests.
        pairs: of classes that a person has named.
    """
    return found.to_dict() | ({"named_pairs": [pair.to_dict() for pair in pairs]} if pairs else {})


def write_comparison(
    out: str | Path,
    first: Tested,
    second: Tested,
    found: Comparison | SetComparison,
    pairs: Sequence[PairComparison] = (),
) -> None:
    """Writes the figures of a comparison, and the videos on which the two recognizers disagree (see `disagreements`).

    Args:
        out: folder of the two files; the same comparison again replaces its own.
        first: the test compared with.
        second: the test that is asked about.
        found: what `compare(first, second)` or `compare_sets(first, second)` gave.
        pairs: of classes that a person has named.

    Raises:
        KinemaError: `out` is a file, or holds the comparison of other tests.
        RunError: the disk is full or the folder cannot be written.
    """
    out = Path(out)
    _require_free(out, [first.file, second.file])
    write_csv(out / DISAGREEMENTS, *disagreements(first, second))
    _write(out / COMPARISON, comparison_document(found, pairs))


def disagreements(first: Tested, second: Tested) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """The videos on which two recognizers disagree, as the header and the rows of a table.

    Those that only one of the two gets right; where a video may have several labels, those for which the two predict
    different labels.

    Args:
        first: the test compared with.
        second: the test that is asked about.

    Returns:
        Names of the columns: path, start and end in seconds, the true label, what each of the two says (None for a
        video that it could not read); and one row per video.

    Raises:
        KinemaError: as for `shared_rows`.
    """
    a, b = first.result, second.result
    said_a, said_b = (r.predictions if r.multi_label else r.correct for r in (a, b))
    rows = [
        (a.paths[i], *a.spans[i], a.truth[i], a.predictions[i], b.predictions[j])
        for i, j in shared_rows(first, second)
        if said_a[i] != said_b[j]
    ]
    return ("path", "start", "end", "label", first.name, second.name), rows


def write_many(out: str | Path, found: ManyComparison | ManySets) -> None:
    """Writes the figures of a comparison of several tests into `comparison.json`.

    Args:
        out: its folder; the same comparison again replaces its own.
        found: what `compare_many` or `compare_many_sets` gave.

    Raises:
        KinemaError: `out` is a file, or holds the comparison of other tests.
        RunError: the disk is full or the folder cannot be written.
    """
    out = Path(out)
    _require_free(out, [Path(run.scores) for run in found.runs])
    _write(out / COMPARISON, found.to_dict())


def _write(file: Path, document: dict[str, Any]) -> None:
    text = printable(json.dumps(document, indent=2, ensure_ascii=False)) + "\n"
    replace_file(file, lambda part: part.write_text(text, encoding="utf-8"))


def _require_free(out: Path, tests: Sequence[Path]) -> None:
    if out.exists() and not out.is_dir():
        raise KinemaError(f"{out}: is a file; give a folder as --out")
    file = out / COMPARISON
    if file.exists() and _compared(file) != [test.resolve() for test in tests]:
        raise KinemaError(f"{out}: holds another comparison; give another --out")


def _compared(file: Path) -> list[Path]:
    """The tests of a comparison; empty where the file is not one."""
    try:
        old = parse_json(file.read_text(encoding="utf-8"))
        sides = old["runs"] if "runs" in old else [old[side] for side in ("first", "second")]
        return [Path(side["scores"]).resolve() for side in sides]
    except (OSError, ValueError, KeyError, TypeError):
        return []
