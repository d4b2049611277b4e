"""`compare_many`: more than two tests side by side, every two of them compared, and the means of groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kinema.errors import KinemaError
from kinema.evaluation.calibration import calibration
from kinema.evaluation.class_pairs import PairComparison, compare_pairs
from kinema.evaluation.comparison import compare
from kinema.evaluation.grid import PairGrid, mcnemar_grid
from kinema.evaluation.groups import Grouped, compare_groups, group_tests
from kinema.evaluation.metrics import Coverage
from kinema.evaluation.tested import Tested, require_one_kind


@dataclass(frozen=True)
class RunRow:
    """One test among others.

    Attributes:
        name: of the test.
        scores: its file.
        top1: share of its videos that are right, 0 to 1.
        interval: Wilson's interval of `top1`, level 0.95.
        mean_class: mean recall of the classes that occur.
        ece: expected calibration error, 0 to 1; None where no video could be read.
        coverage: of the test.
    """

    name: str
    scores: str
    top1: float
    interval: tuple[float, float]
    mean_class: float
    ece: float | None
    coverage: Coverage


@dataclass(frozen=True)
class ManyComparison:
    """Several tests.

    Attributes:
        runs: one per test, in the order in which they were given.
        grid: McNemar's test between every two.
        grouped: means of groups; None where there are none.
        pairs: of classes, each later test against the first; empty where none were asked for.
        remarks: sentences without which the figures could mislead.
    """

    runs: tuple[RunRow, ...]
    grid: PairGrid
    grouped: Grouped | None
    pairs: tuple[PairComparison, ...]
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "runs": [asdict(run) for run in self.runs],
            "grid": self.grid.to_dict(),
            "groups": None if self.grouped is None else self.grouped.to_dict(),
            "pairs": [pair.to_dict() for pair in self.pairs],
            "remarks": self.remarks,
        }


def compare_many(
    tests: Sequence[Tested], *, groups: Sequence[str] = (), pairs: Sequence[tuple[str, str]] = ()
) -> ManyComparison:
    """Compares every two of several tests.

    Args:
        tests: at least two.
        groups: as `group_tests` takes them; without any, tests that differ in the seed alone form groups.
        pairs: of classes that are looked at by themselves.

    Raises:
        KinemaError: fewer than two tests, the same one twice, bad groups, or tests of several labels per video, which
            `compare_many_sets` takes.
    """
    require_different(tests)
    if require_one_kind(tests):
        raise KinemaError(f"{tests[0].file}: its videos have several labels: compare such tests with compare_many_sets")
    found = group_tests(tests, groups)
    return ManyComparison(
        runs=tuple(_row(test) for test in tests),
        grid=mcnemar_grid(tests),
        grouped=compare_groups(found) if found else None,
        pairs=tuple(compare_pairs(tests, pairs)) if pairs else (),
        remarks=_remarks(tests),
    )


def require_different(tests: Sequence[Tested]) -> None:
    """Refuses a test that is named twice.

    Raises:
        KinemaError: there is one.
    """
    files = [test.file.resolve() for test in tests]
    for test, file in zip(tests, files, strict=True):
        if files.count(file) > 1:
            raise KinemaError(f"{test.file}: is named twice; name every test once")


def _row(test: Tested) -> RunRow:
    m, found = test.metrics, calibration(test.result)
    return RunRow(
        test.name, str(test.file), m.top1, m.top1_interval, m.mean_class, None if found is None else found.ece,
        test.coverage,
    )  # fmt: skip


def _remarks(tests: Sequence[Tested]) -> tuple[str, ...]:
    """What each comparison with the first test remarks; pairs that cannot be compared stand in the grid."""
    found: dict[str, None] = {}
    for other in tests[1:]:
        try:
            found |= dict.fromkeys(compare(tests[0], other).remarks)
        except KinemaError:
            continue
    return tuple(found)
