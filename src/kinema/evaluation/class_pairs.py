"""Pairs of classes chosen by the user, and how well each test separates them."""

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
    """One pair of classes in two tests, on the videos of the pair in both tests.

    Attributes:
        labels: the pair.
        first: name of the baseline test.
        second: name of the test that is compared with it.
        videos: number of videos of the two classes.
        accuracies: accuracy of the first and of the second test: how often the true label of the two has the higher
            score (a tie counts as one half, an unreadable video as wrong); None without a video.
        difference: second minus first, with a paired bootstrap over the videos; None without a video.
        p: two-sided exact sign test on the videos on which the two differ; None without a video.
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
    """Parses pairs written as `A/B`.

    Args:
        words: one per pair. A label may contain a `/` itself.
        tests: the tests; all of them must have both labels.

    Raises:
        KinemaError: there is no `/`, a label is unknown (the message suggests the nearest one), both labels are the
            same, or the pair can be split in several ways.
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
    """Compares each later test with the first, for each pair.

    Args:
        tests: at least two tests.
        pairs: pairs from `parse_pairs`.

    Raises:
        KinemaError: two tests cannot be compared.
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
