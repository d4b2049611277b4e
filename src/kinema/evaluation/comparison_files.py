"""The files of a comparison: `comparison.json` with the figures, `disagreements.csv` with the videos behind them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kinema.errors import KinemaError
from kinema.evaluation.comparison import Comparison, shared_rows
from kinema.evaluation.tested import Tested
from kinema.files import replace_file
from kinema.tables import write_csv

COMPARISON, DISAGREEMENTS = "comparison.json", "disagreements.csv"


def write_comparison(out: str | Path, first: Tested, second: Tested, found: Comparison) -> None:
    """Writes the figures of a comparison, and the videos that only one of the two recognizers gets right.

    Args:
        out: folder of the two files; the same comparison again replaces its own.
        first: the test compared with.
        second: the test that is asked about.
        found: what `compare(first, second)` gave.

    Raises:
        KinemaError: `out` is a file, or holds the comparison of other tests.
        RunError: the disk is full or the folder cannot be written.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise KinemaError(f"{out}: is a file; give a folder as --out")
    file = out / COMPARISON
    if file.exists() and _compared(file) != [first.file.resolve(), second.file.resolve()]:
        raise KinemaError(f"{out}: holds another comparison; give another --out")
    text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n"
    write_csv(out / DISAGREEMENTS, *disagreements(first, second))
    replace_file(file, lambda part: part.write_text(text, encoding="utf-8"))


def disagreements(first: Tested, second: Tested) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """The videos that only one of two recognizers gets right, as the header and the rows of a table.

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
    rows = [
        (a.paths[i], *a.spans[i], a.truth[i], a.predictions[i], b.predictions[j])
        for i, j in shared_rows(first, second)
        if a.correct[i] != b.correct[j]
    ]
    return ("path", "start", "end", "label", first.name, second.name), rows


def _compared(file: Path) -> list[Path]:
    """The two tests of a comparison; empty where the file is not one."""
    try:
        old = json.loads(file.read_text(encoding="utf-8"))
        return [Path(old[side]["scores"]).resolve() for side in ("first", "second")]
    except (OSError, ValueError, KeyError, TypeError):
        return []
