"""Confidence intervals, and whether two recognizers really differ: statistics over the videos of one test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # `scipy.stats` takes half a second to import, and is imported where it is first used
from numpy.typing import ArrayLike, NDArray

from kinema.errors import KinemaError, unknown

LEVEL, RESAMPLES = 0.95, 2000
SEED = 0  # of the bootstrap
FEW = 25  # disagreements
# Of a difference of two softmax scores; each score carries up to 1e-5 of rounding. Chosen
# from that rounding; the tests try it on random scores with exactly reversed twins.
TIE, NOISE = 1e-4, 2e-5
_CHUNK = 4_000_000  # values drawn at a time, so that large test sets need little memory


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two recognizers on the same videos.

    Attributes:
        statistic: equation 6.1 of the thesis, chi-square with one degree of freedom under the null hypothesis that both
            are equally accurate.
        p: probability of a statistic at least as large under the null hypothesis.
        p_exact: the same from the binomial distribution of the disagreements, two-sided; trust it where they are few.
        table: ((both right, only the second right), (only the first right, both wrong)): table 6.5 of the thesis.
    """

    statistic: float
    p: float
    p_exact: float
    table: tuple[tuple[int, int], tuple[int, int]]

    @property
    def few(self) -> bool:
        """The disagreements are fewer than the chi-square distribution describes well."""
        return self.table[0][1] + self.table[1][0] < FEW


@dataclass(frozen=True)
class Difference:
    """How much more accurate the second of two recognizers is.

    Attributes:
        difference: accuracy of the second minus accuracy of the first, -1 to 1.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class PairAccuracy:
    """Accuracy of choosing between the two labels of a pair, for the videos that show one of the two.

    Attributes:
        overall: over all videos of all pairs, 0 to 1.
        videos: how many there are.
        ties: how many of them counted one half.
        per_pair: (label, label) -> accuracy.
    """

    overall: float
    videos: int
    ties: int
    per_pair: Mapping[tuple[str, str], float]


def share_interval(right: int, videos: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval of a share, such as top-1; it needs no special case where all videos are right, or none.

    Args:
        right: how many of the videos are right.
        videos: how many there are.
        level: probability that the interval is meant to hold.

    Returns:
        The ends of the interval, 0 to 1.

    Raises:
        KinemaError: no video, more right ones than videos, or a level outside (0, 1).
    """
    if videos < 1 or not 0 <= right <= videos:
        raise KinemaError(
            f"right {right}, videos {videos}: give at least 1 video, and a number of right ones from 0 to all"
        )
    _check_level(level)
    low, high = scipy.stats.binomtest(right, videos).proportion_ci(level, "wilson")
    return float(low), float(high)


def bootstrap_interval(
    values: ArrayLike, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean over videos, of credits or differences.

    Resamples of values that are all alike are all the same. If all are 1, or all are 0, the interval is then the exact
    one of a share (Clopper and Pearson): 8 of 8 give 0.631 to 1.

    Args:
        values: N values, one per video.
        level: probability that the interval is meant to hold.
        resamples: how many times N videos are drawn with replacement.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        The ends of the interval.

    Raises:
        KinemaError: no video, a level outside (0, 1) or no resample.
    """
    found = _values(values)
    _check_level(level)
    if resamples < 1:
        raise KinemaError(f"resamples {resamples}: give at least 1")
    n = len(found)
    for share in (0, 1):
        if (found == share).all():
            low, high = scipy.stats.binomtest(share * n, n).proportion_ci(level, "exact")
            return float(low), float(high)
    if n == 1:  # scipy refuses it, and every resample is this one
        return float(found[0]), float(found[0])
    # scipy >= 1.15 calls the argument `rng`, and takes this name too.
    low, high = scipy.stats.bootstrap(
        (found,), np.mean, n_resamples=resamples, batch=max(1, _CHUNK // n), confidence_level=level,
        method="percentile", vectorized=True, random_state=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(low), float(high)


def paired_bootstrap(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Difference:
    """The difference of two accuracies on the same videos, with its percentile bootstrap interval.

    Every resample draws the same videos for both, so what is hard for both cancels out. Where the two never differ, the
    interval is that of the share of videos on which either could be the only one that is right, to both sides.

    Args:
        correct_a: N values of the first recognizer, one per video.
        correct_b: N values of the second one, in the same order.
        level: as in `bootstrap_interval`.
        resamples: as in `bootstrap_interval`.
        seed: as in `bootstrap_interval`.

    Raises:
        KinemaError: not as many values in both, or none.
    """
    a, b = _pair(correct_a, correct_b)
    gain = b - a
    if not gain.any():
        most = bootstrap_interval(gain, level=level, resamples=resamples)[1]
        return Difference(0.0, -most, most)
    return Difference(float(gain.mean()), *bootstrap_interval(gain, level=level, resamples=resamples, seed=seed))


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike) -> McNemar:
    """McNemar's test with Edwards' continuity correction (thesis, equation 6.1): `(|b - c| - 1)^2 / (b + c)`.

    b and c are the videos that only one of the two recognizers gets right. Where they are equal the correction would
    overshoot, to the statistic of a difference of two, and where there are none the equation is undefined: then the
    statistic is 0 and both probabilities are 1.

    Args:
        correct_a: N booleans of the first recognizer ("model 1", the original), one per video.
        correct_b: N booleans of the second one ("model 2"), in the same order.

    Raises:
        KinemaError: not as many values in both, none, or one that is neither right nor wrong.
    """
    a, b = _pair(correct_a, correct_b)
    if not np.isin(np.concatenate([a, b]), (0, 1)).all():
        raise KinemaError("McNemar's test needs a 1 (right) or 0 (wrong) for every video")
    first, second = a == 1, b == 1
    only_a, only_b = int((first & ~second).sum()), int((~first & second).sum())
    table = ((int((first & second).sum()), only_b), (only_a, int((~first & ~second).sum())))
    disagree = only_a + only_b
    if not disagree:
        return McNemar(0.0, 1.0, 1.0, table)
    statistic = max(0, abs(only_b - only_a) - 1) ** 2 / disagree
    exact = float(scipy.stats.binomtest(only_a, disagree).pvalue)
    return McNemar(statistic, float(scipy.stats.chi2.sf(statistic, 1)), exact, table)


def pair_accuracy(
    true_labels: Sequence[str], scores: ArrayLike, labels: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> PairAccuracy:
    """Direction accuracy inside pairs: of the two labels of a pair, is the true one's score the larger?

    A tie, a difference of at most 1e-4, counts one half, so that rounding never decides.

    The limit is not quite fixed, for the sake of data in which every video has an exactly reversed twin with the other
    label, such as `kinema.puppets`. There a network that ignores order gives both twins the same scores up to rounding
    (1e-5 per score) and must get exactly one half. So twins must not fall on different sides of the limit: it moves up
    into the next gap, 4e-5 wide, between the differences that occur, at most to 1e-3. Where no gap is found (many
    thousands of videos) it stays at 1e-4, and a few videos may deviate. On data without twins the limit moves
    in the same way, and a video whose two scores differ by less than 1e-3 may count one half.

    A video without scores (NaN, it could not be read) is wrong.

    Args:
        true_labels: N labels; videos of labels outside the pairs play no part.
        scores: N K.
        labels: K names, in the order of the scores.
        pairs: the labels that belong together.

    Raises:
        KinemaError: a pair's label that the recognizer does not have, one label in two pairs, shapes that do not match,
            or no video of any pair.
    """
    member = _members(pairs, labels)
    rows, credit, tied = _credits(true_labels, scores, labels, member)
    of_pair = np.array([member[true_labels[i]][0] for i in rows])
    per_pair = {pair: float(credit[of_pair == k].mean()) for k, pair in enumerate(pairs) if (of_pair == k).any()}
    return PairAccuracy(float(credit.mean()), len(rows), int(tied.sum()), per_pair)


def pair_credits(
    true_labels: Sequence[str], scores: ArrayLike, labels: Sequence[str], pair: tuple[str, str]
) -> NDArray[np.float64]:
    """The values that `pair_accuracy` averages for one pair.

    Args:
        true_labels: N labels of the pair.
        scores: N K.
        labels: K names, in the order of the scores.
        pair: the two labels.

    Returns:
        float64 N: 1 where the true label of the two has the higher score, one half for a tie, else 0.

    Raises:
        KinemaError: as `pair_accuracy`, and a label that is not of the pair.
    """
    for label in true_labels:
        if label not in pair:
            raise KinemaError(f"the label {label!r} is not in the pair {' / '.join(pair)}: leave its videos out")
    return _credits(true_labels, scores, labels, _members([pair], labels))[1]


def _members(pairs: Sequence[tuple[str, str]], labels: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Label -> the number of its pair and its partner."""
    member: dict[str, tuple[int, str]] = {}
    for k, pair in enumerate(pairs):
        for name, other in (pair, pair[::-1]):
            if name not in labels:
                raise unknown("label of a pair", name, labels)
            if name in member or name == other:
                raise KinemaError(f"the label {name!r} is in two pairs: give every label one partner")
            member[name] = (k, other)
    return member


def _credits(
    true_labels: Sequence[str], scores: ArrayLike, labels: Sequence[str], member: Mapping[str, tuple[int, str]]
) -> tuple[list[int], NDArray[np.float64], NDArray[np.bool_]]:
    """The rows of the videos that have a label of a pair, their credits, and which of them are ties."""
    table = np.asarray(scores, dtype=np.float64)
    if table.shape != (len(true_labels), len(labels)):
        raise KinemaError(f"scores of shape {table.shape} for {len(true_labels)} videos and {len(labels)} labels")
    place = {name: i for i, name in enumerate(labels)}
    rows = [i for i, name in enumerate(true_labels) if name in member]
    if not rows:
        raise KinemaError("no video has a label of any pair: give pairs of labels that occur in the test")
    mine = np.array([place[true_labels[i]] for i in rows])
    others = np.array([place[member[true_labels[i]][1]] for i in rows])
    margin = table[rows, mine] - table[rows, others]
    tied = np.abs(margin) <= _tie_border(np.abs(margin[np.isfinite(margin)]))
    return rows, np.where(tied, 0.5, margin > 0), tied  # no comparison holds for NaN


def _tie_border(margins: NDArray[np.float64]) -> float:
    border = TIE
    for margin in np.sort(margins[margins > border - NOISE]):
        if margin > border + NOISE:
            break
        border = float(margin) + NOISE
    return border if border <= 10 * TIE else TIE


def _pair(correct_a: ArrayLike, correct_b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = _values(correct_a), _values(correct_b)
    if len(a) != len(b):
        raise KinemaError(
            f"{len(a)} videos of the first recognizer and {len(b)} of the second: compare the same videos"
        )
    return a, b


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise KinemaError(f"level {level}: give a level between 0 and 1")


def _values(correct: Any) -> NDArray[np.float64]:
    values = np.asarray(correct, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise KinemaError("give one finite value per video, and at least one video")
    return values
