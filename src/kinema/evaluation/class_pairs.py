"""Pairs of classes chosen by the user: how well each test separates the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy

from kinema.errors import KinemaError, unknown
from kinema.evaluation.pairing import shared_rows
from kinema.evaluation.statistics import SEED, Difference, pair_credits, paired_bootstrap
from kinema.evaluation.tested import Tested

SEPARATOR = "/"


@dataclass(frozen=True)
class PairComparison:
    """One pair of classes in two tests, on the videos of the pair that both tests hold.

    Attributes:
        labels: the pair.
        first: name of the test compared with.
        second: name of the test that is asked about.
        videos: that show one of the two classes; 0 where there are none.
        accuracies: of the first and of the second test: of the two labels, how often the true one has the higher score
            (a tie counts one half, an unreadable video is wrong); None without a video.
        difference: second minus first, paired bootstrap over the videos; None without a video.
        p: exact sign test of the videos on which the two differ, two-sided; None without a video.
    """

    labels: tuple[str, str]
    first: str
    second: str
    videos: int
    accuracies: tuple[float, float] | None
    difference: Difference | None
    p: float | None

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)


def parse_pairs(words: Sequence[str], tests: Sequence[Tested]) -> list[tuple[str, str]]:
    """The pairs that a person writes as `A/B`.

    Args:
        words: one per pair. A label may hold a `/` itself.
        tests: whose labels are meant: all of them must know both.

    Raises:
        KinemaError: no `/`, an unknown label (the nearest is offered), the same label twice, or several ways to divide.
    """
    known = set(tests[0].result.labels).intersection(*(test.result.labels for test in tests[1:]))
    found = []
    for word in words:
        parts = word.split(SEPARATOR)
        cuts = [(SEPARATOR.join(parts[:i]).strip(), SEPARATOR.join(parts[i:]).strip()) for i in range(1, len(parts))]
        if not cuts or not all(map(any, cuts)):
            raise KinemaError(f"--pairs {word}: give two labels as A{SEPARATOR}B")
        fitting = [cut for cut in cuts if cut[0] in known and cut[1] in known]
        if not fitting:
            cut = next((cut for cut in cuts if cut[0] in known or cut[1] in known), cuts[0])
            stranger = next(label for label in cut if label not in known)
            raise KinemaError(f"--pairs {word}: {unknown('label', stranger, known)}")
        if len(fitting) > 1:
            raise KinemaError(
                f"--pairs {word}: can be split in {len(fitting)} ways, as labels contain {SEPARATOR}: rename them"
            )
        if fitting[0][0] == fitting[0][1]:
            raise KinemaError(f"--pairs {word}: names one label twice; give two different ones")
        found.append(fitting[0])
    return list(dict.fromkeys(found))


def compare_pairs(tests: Sequence[Tested], pairs: Sequence[tuple[str, str]]) -> list[PairComparison]:
    """Each later test against the first, for each pair.

    Args:
        tests: at least two.
        pairs: as `parse_pairs` gives them.

    Raises:
        KinemaError: two tests that cannot be compared.
    """
    first, *others = tests
    found = []
    for other in others:
        rows = shared_rows(first, other)
        for pair in pairs:
            chosen = [(i, j) for i, j in rows if first.result.truth[i] in pair]
            found.append(_compared(first, other, pair, chosen))
    return found


def _compared(first: Tested, second: Tested, pair: tuple[str, str], rows: Sequence[tuple[int, int]]) -> PairComparison:
    if not rows:
        return PairComparison(pair, first.name, second.name, 0, None, None, None)
    truth = [first.result.truth[i] for i, _ in rows]
    a, b = (
        pair_credits(truth, test.result.scores[[row[side] for row in rows]], test.result.labels, pair)
        for side, test in enumerate((first, second))
    )
    gained, lost = int((b > a).sum()), int((b < a).sum())
    p = float(scipy.stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    means = (float(np.mean(a)), float(np.mean(b)))
    return PairComparison(pair, first.name, second.name, len(rows), means, paired_bootstrap(a, b, seed=SEED), p)
