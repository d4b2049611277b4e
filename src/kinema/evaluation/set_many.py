"""`compare_many_sets`: more than two tests of several labels per video, every two of them, and the means of groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from kinema.errors import KinemaError
from kinema.evaluation.grid import GridCell, PairGrid, corrected
from kinema.evaluation.groups import group_tests
from kinema.evaluation.many import require_different
from kinema.evaluation.metrics import Coverage
from kinema.evaluation.pairing import shared_rows
from kinema.evaluation.remarks import remarks_of
from kinema.evaluation.set_comparison import shared_sets
from kinema.evaluation.set_groups import GroupedSets, compare_set_groups
from kinema.evaluation.set_statistics import mean_ap_differences
from kinema.evaluation.tested import Tested, require_one_kind


@dataclass(frozen=True)
class SetRow:
    """One test among others.

    Attributes:
        name: of the test.
        scores: its file.
        mean_ap: its mAP, 0 to 1.
        interval: basic bootstrap interval of `mean_ap` over videos, level 0.95.
        classes: how many classes occur in its videos.
        labels: how many the recognizer has.
        hit1: share of its videos whose highest score belongs to one of their labels.
        coverage: of the test.
    """

    name: str
    scores: str
    mean_ap: float
    interval: tuple[float, float]
    classes: int
    labels: int
    hit1: float
    coverage: Coverage


@dataclass(frozen=True)
class ManySets:
    """Several tests.

    Attributes:
        runs: one per test, in the order in which they were given.
        per_class: label -> average precision in each run, in the order of `runs`; None where no video of a test shows
            the class.
        grid: every two by their mAPs.
        grouped: means of groups; None where there are none.
        remarks: sentences without which the figures could mislead.
    """

    runs: tuple[SetRow, ...]
    per_class: dict[str, tuple[float | None, ...]]
    grid: PairGrid
    grouped: GroupedSets | None
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "multi_label": True,
            "runs": [asdict(run) for run in self.runs],
            "per_class": self.per_class,
            "grid": self.grid.to_dict(),
            "groups": None if self.grouped is None else self.grouped.to_dict(),
            "remarks": self.remarks,
        }


def compare_many_sets(tests: Sequence[Tested], *, groups: Sequence[str] = ()) -> ManySets:
    """Compares every two of several tests of several labels per video.

    Args:
        tests: at least two.
        groups: as `group_tests` takes them; without any, tests that differ in the seed alone form groups.

    Raises:
        KinemaError: fewer than two tests, the same one twice, bad groups, or tests of one label per video.
    """
    require_different(tests)
    if not require_one_kind(tests):
        raise KinemaError("tests of one label per video: compare them with `compare_many`")
    found = group_tests(tests, groups)
    return ManySets(
        runs=tuple(_row(test) for test in tests),
        per_class=_per_class(tests),
        grid=mean_ap_grid(tests),
        grouped=compare_set_groups(found) if found else None,
        remarks=_remarks(tests),
    )


def mean_ap_grid(tests: Sequence[Tested]) -> PairGrid:
    """Compares every two tests on the videos that both hold, by the paired bootstrap of their mAPs.

    Two tests that cannot be compared get a cell that says why; they do not count among the comparisons.

    Args:
        tests: of several labels per video, at least two, of different names.

    Raises:
        KinemaError: fewer than two tests.
    """
    if len(tests) < 2:
        raise KinemaError("a grid compares every two tests: give at least two")
    cells: dict[tuple[int, int], GridCell] = {}
    alike: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
    for pair in combinations(range(len(tests)), 2):
        first, second = (tests[i] for i in pair)
        try:
            rows = shared_rows(first, second)
        except KinemaError as error:
            cells[pair] = GridCell(first.name, second.name, 0, None, None, None, str(error))
            continue
        if rows == [(i, i) for i in range(len(first.result.paths))] and len(second.result.paths) == len(rows):
            alike.setdefault((first.result.paths, first.result.spans, first.result.truth), []).append(pair)
        else:
            cells |= _cells(tests, [pair], [[i for i, _ in rows], [j for _, j in rows]])
    for pairs in alike.values():  # tests of the very same videos share their resamples: each is ranked once
        members = sorted({i for pair in pairs for i in pair})
        everything = range(len(tests[members[0]].result.paths))
        cells |= _cells(tests, pairs, [everything] * len(members))
    return corrected(tests, [cells[pair] for pair in combinations(range(len(tests)), 2)])


def _cells(
    tests: Sequence[Tested], pairs: Sequence[tuple[int, int]], rows: Sequence[Sequence[int]]
) -> dict[tuple[int, int], GridCell]:
    members = sorted({i for pair in pairs for i in pair})
    names = [(tests[a].name, tests[b].name) for a, b in pairs]
    try:
        shared = shared_sets([tests[i] for i in members], rows)
    except KinemaError as error:
        return {p: GridCell(*name, 0, None, None, None, str(error)) for p, name in zip(pairs, names, strict=True)}
    contrasts = [[float(i == b) - float(i == a) for i in members] for a, b in pairs]
    found = mean_ap_differences(shared.truth, shared.scores, contrasts)
    return {
        pair: GridCell(*name, len(rows[0]), d.difference, d.p, None, interval=(d.low, d.high))
        for pair, name, d in zip(pairs, names, found, strict=True)
    }


def _row(test: Tested) -> SetRow:
    m = test.set_metrics
    return SetRow(
        test.name, str(test.file), m.mean_ap, m.mean_ap_interval, m.classes_tested, len(m.per_class), m.hit1,
        test.coverage,
    )  # fmt: skip


def _per_class(tests: Sequence[Tested]) -> dict[str, tuple[float | None, ...]]:
    found = [{c.label: c.average_precision for c in test.set_metrics.per_class} for test in tests]
    labels = dict.fromkeys(label for precisions in found for label in precisions)
    return {label: tuple(precisions.get(label) for precisions in found) for label in labels}


def _remarks(tests: Sequence[Tested]) -> tuple[str, ...]:
    """What there is to say of each test beside the first; pairs that cannot be compared stand in the grid."""
    found: dict[str, None] = {}
    for other in tests[1:]:
        try:
            found |= dict.fromkeys(remarks_of(tests[0], other, shared_rows(tests[0], other)))
        except KinemaError:
            continue
    return tuple(found)
