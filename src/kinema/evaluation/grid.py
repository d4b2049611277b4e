"""Every two of many tests, with a p value for each pair that is corrected for their number (Holm)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from kinema.errors import KinemaError
from kinema.evaluation.pairing import shared_rows
from kinema.evaluation.statistics import mcnemar
from kinema.evaluation.tested import Tested

ALPHA = 0.05


@dataclass(frozen=True)
class GridCell:
    """Two tests of a grid.

    Attributes:
        first: name of the one compared with.
        second: name of the one that is asked about.
        videos: that both were tested on; 0 where they cannot be compared.
        difference: accuracy of the second minus accuracy of the first, -1 to 1, or the same of their mAPs where videos
            have several labels; None where they cannot be compared.
        p: McNemar's test by the exact binomial distribution, two-sided; of mAPs the paired bootstrap's.
        p_holm: the same, corrected for the number of comparisons in the grid.
        refused: why the two cannot be compared, else None.
        interval: of a difference of mAPs, paired bootstrap, level 0.95 for each pair alone; None for accuracies.
    """

    first: str
    second: str
    videos: int
    difference: float | None
    p: float | None
    p_holm: float | None
    refused: str | None = None
    interval: tuple[float, float] | None = None

    @property
    def verdict(self) -> str:
        """`better`, `worse` (the second than the first), `no difference shown` or `not compared`."""
        if self.difference is None or self.p_holm is None:
            return "not compared"
        if self.p_holm > ALPHA:
            return "no difference shown"
        return "better" if self.difference > 0 else "worse"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"verdict": self.verdict}


@dataclass(frozen=True)
class PairGrid:
    """Every two of many tests.

    Attributes:
        names: of the tests, in the order in which they were given.
        cells: one per pair, the earlier test first.
    """

    names: tuple[str, ...]
    cells: tuple[GridCell, ...]

    def cell(self, row: str, column: str) -> GridCell | None:
        """The cell in which `row` is the test that is asked about; None for a test with itself.

        Raises:
            KinemaError: a name that is not in the grid.
        """
        for name in (row, column):
            if name not in self.names:
                raise KinemaError(f"{name}: is not a test of this grid; choose from {', '.join(self.names)}")
        for cell in self.cells:
            if (cell.second, cell.first) == (row, column):
                return cell
            if (cell.first, cell.second) == (row, column):
                turned = None if cell.difference is None else -cell.difference
                interval = None if cell.interval is None else (-cell.interval[1], -cell.interval[0])
                return replace(cell, first=column, second=row, difference=turned, interval=interval)
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "names": self.names, "alpha": ALPHA, "correction": "holm",
            "cells": [cell.to_dict() for cell in self.cells],
        }  # fmt: skip


def mcnemar_grid(tests: Sequence[Tested]) -> PairGrid:
    """Compares every two tests on the videos that both hold.

    Two tests that cannot be compared get a cell that says why; they do not count among the comparisons.

    Args:
        tests: at least two, of different names.

    Raises:
        KinemaError: fewer than two tests.
    """
    if len(tests) < 2:
        raise KinemaError("a grid compares every two tests: give at least two")
    return corrected(tests, [_cell(first, second) for first, second in combinations(tests, 2)])


def corrected(tests: Sequence[Tested], cells: Sequence[GridCell]) -> PairGrid:
    """The grid of cells whose p values are not corrected yet.

    Args:
        tests: in the order of the grid.
        cells: one per pair of tests, with `p_holm` None.
    """
    ps = iter(holm([cell.p for cell in cells if cell.p is not None]))
    found = tuple(cell if cell.p is None else replace(cell, p_holm=next(ps)) for cell in cells)
    return PairGrid(tuple(test.name for test in tests), found)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the k-th smallest of m p values times m - k + 1, never below the one before it.

    With it, the chance that any verdict of the family is wrong stays below the level, whatever depends on whatever
    (Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979).

    Args:
        ps: M probabilities.

    Returns:
        M corrected probabilities, at most 1, in the same order.
    """
    values = np.asarray(ps, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    raised = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    found = np.empty_like(values)
    found[order] = np.minimum(1.0, raised)
    return [float(p) for p in found]


def _cell(first: Tested, second: Tested) -> GridCell:
    try:
        rows = shared_rows(first, second)
    except KinemaError as error:
        return GridCell(first.name, second.name, 0, None, None, None, str(error))
    a = first.result.correct[[i for i, _ in rows]]
    b = second.result.correct[[j for _, j in rows]]
    gain = float(b.mean() - a.mean())
    return GridCell(first.name, second.name, len(rows), gain, mcnemar(a, b).p_exact, None)
