"""Statistics over the videos of one test set: confidence intervals and comparisons of two recognizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # `scipy.stats` takes half a second to import, so it is imported on first use
from numpy.typing import ArrayLike, NDArray

from kinema.errors import KinemaError, unknown

LEVEL, RESAMPLES = 0.95, 2000
SEED = 0  # number of bootstrap samples
FEW = 25  # number of disagreements
# For a difference of two softmax scores, each with a rounding error of up to 1e-5, from which
# they were chosen; the tests try them on random scores with exactly reversed twins.
TIE, NOISE = 1e-4, 2e-5
_CHUNK = 4_000_000  # number of values drawn at a time, to limit memory on large test sets


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two recognizers on the same videos.

    Attributes:
        statistic: equation 6.1 of the thesis, chi-square with one degree of freedom under the null hypothesis that both
            are equally accurate.
        p: probability of a statistic at least as large under the null hypothesis.
        p_exact: the same from the binomial distribution of the disagreements, two-sided; use it if they are few.
        table: ((both right, only the second right), (only the first right, both wrong)): table 6.5 of the thesis.
    """

    statistic: float
    p: float
    p_exact: float
    table: tuple[tuple[int, int], tuple[int, int]]

    @property
    def few(self) -> bool:
        """True if there are too few disagreements for the chi-square approximation."""
        return self.table[0][1] + self.table[1][0] < FEW


@dataclass(frozen=True)
class Difference:
    """The difference in accuracy of two recognizers.

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
        overall: accuracy over all videos of all pairs, 0 to 1.
        videos: number of these videos.
        ties: number of these videos that counted as one half.
        per_pair: (label, label) -> accuracy.
    """

    overall: float
    videos: int
    ties: int
    per_pair: Mapping[tuple[str, str], float]


def share_interval(right: int, videos: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Returns Wilson's interval of a share, such as top-1; it is also valid if all or none of the videos are right.

    Args:
        right: number of right videos.
        videos: number of videos.
        level: confidence level.

    Returns:
        The ends of the interval, 0 to 1.

    Raises:
        KinemaError: there is no video, more are right than there are videos, or the level is outside (0, 1).
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
    """Returns the percentile bootstrap interval of a mean over videos, of credits or differences.

    If all values are equal, all bootstrap samples are equal. If all are 1 or all are 0, the exact interval of a share
    is therefore returned (Clopper and Pearson): 8 of 8 give 0.631 to 1.

    Args:
        values: N values, one per video.
        level: confidence level.
        resamples: number of bootstrap samples of N videos.
        seed: seed of the samples; the same seed gives the same interval.

    Returns:
        The ends of the interval.

    Raises:
        KinemaError: there is no video, the level is outside (0, 1), or resamples is below 1.
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
    if n == 1:  # scipy rejects a single value, and every sample is this one
        return float(found[0]), float(found[0])
    # scipy >= 1.15 calls the argument `rng`, but also accepts this name.
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
    """Returns the difference of two accuracies on the same videos, with its percentile bootstrap interval.

    Every sample contains the same videos for both, so videos that are difficult for both cancel out. If the two never
    differ, the interval is symmetric around 0, from the exact interval of the share of videos on which they could
    differ.

    Args:
        correct_a: N values of the first recognizer, one per video.
        correct_b: N values of the second recognizer, in the same order.
        level: as in `bootstrap_interval`.
        resamples: as in `bootstrap_interval`.
        seed: as in `bootstrap_interval`.

    Raises:
        KinemaError: the numbers of values differ, or there are none.
    """
    a, b = _pair(correct_a, correct_b)
    gain = b - a
    if not gain.any():
        most = bootstrap_interval(gain, level=level, resamples=resamples)[1]
        return Difference(0.0, -most, most)
    return Difference(float(gain.mean()), *bootstrap_interval(gain, level=level, resamples=resamples, seed=seed))


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike) -> McNemar:
    """Computes McNemar's test with Edwards' continuity correction (thesis, equation 6.1): `(|b - c| - 1)^2 / (b + c)`.

    b and c are the numbers of videos that only one of the two recognizers gets right. If they are equal, the correction
    would overshoot (to the statistic of a difference of two); if both are 0, the equation is undefined. In both cases
    the statistic is 0 and both probabilities are 1.

    Args:
        correct_a: N booleans of the first recognizer ("model 1", the original), one per video.
        correct_b: N booleans of the second recognizer ("model 2"), in the same order.

    Raises:
        KinemaError: the numbers of values differ, there are none, or a value is neither 0 nor 1.
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
    """Computes the direction accuracy in pairs: how often the true label of a pair has the higher score of the two.

    A tie (a difference of at most 1e-4) counts as one half, so that rounding errors never decide.

    The limit is adjusted for data in which every video has an exactly reversed twin with the other label, such as
    `kinema.puppets`. There, a network that ignores order gives both twins the same scores up to rounding (1e-5 per
    score) and must get exactly one half. Twins must therefore not fall on different sides of the limit: it moves up
    into the next gap of 4e-5 between the occurring differences, at most to 1e-3. If there is no gap (many thousands of
    videos), it stays at 1e-4, and a few videos may deviate. On data without twins the limit moves in the same way, and
    a video whose two scores differ by less than 1e-3 may count as one half.

    An unreadable video (NaN scores) is wrong.

    Args:
        true_labels: N labels; videos with labels outside the pairs are ignored.
        scores: N K.
        labels: K names, in the order of the scores.
        pairs: the pairs of labels.

    Raises:
        KinemaError: the recognizer lacks a label of a pair, a label is in two pairs, the shapes do not match, or there
            is no video of any pair.
    """
    member = _members(pairs, labels)
    rows, credit, tied = _credits(true_labels, scores, labels, member)
    of_pair = np.array([member[true_labels[i]][0] for i in rows])
    per_pair = {pair: float(credit[of_pair == k].mean()) for k, pair in enumerate(pairs) if (of_pair == k).any()}
    return PairAccuracy(float(credit.mean()), len(rows), int(tied.sum()), per_pair)


def pair_credits(
    true_labels: Sequence[str], scores: ArrayLike, labels: Sequence[str], pair: tuple[str, str]
) -> NDArray[np.float64]:
    """Returns the values that `pair_accuracy` averages for one pair.

    Args:
        true_labels: N labels of the pair.
        scores: N K.
        labels: K names, in the order of the scores.
        pair: the two labels.

    Returns:
        float64 N: 1 if the true label of the two has the higher score, 0.5 for a tie, else 0.

    Raises:
        KinemaError: as for `pair_accuracy`, or a label is not in the pair.
    """
    for label in true_labels:
        if label not in pair:
            raise KinemaError(f"the label {label!r} is not in the pair {' / '.join(pair)}: leave its videos out")
    return _credits(true_labels, scores, labels, _members([pair], labels))[1]


def _members(pairs: Sequence[tuple[str, str]], labels: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Returns label -> index of its pair, and its partner."""
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
    """Returns the rows of the videos with a label of a pair, their credits, and which of them are ties."""
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
    return rows, np.where(tied, 0.5, margin > 0), tied  # comparisons with NaN are false


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
