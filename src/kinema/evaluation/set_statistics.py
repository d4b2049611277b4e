"""Whether two recognizers of several labels per video really differ: paired bootstrap of the difference of two mAPs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # `scipy.stats` takes half a second to import, and is imported where it is first used
from numpy.typing import NDArray

from kinema.errors import KinemaError
from kinema.evaluation.multi_label import weighted_average_precisions
from kinema.evaluation.statistics import LEVEL, RESAMPLES, SEED

_AT_ONCE = 2**21  # weights of videos, in resamples that are computed together


@dataclass(frozen=True)
class MeanApDifference:
    """How much higher one mAP is than another on the same videos.

    Attributes:
        difference: of the two, -1 to 1.
        low: lower end of the interval, at least -1.
        high: upper end of the interval, at most 1.
        p: two-sided p of no difference: how probable so large a difference is under a normal distribution with the
            bootstrap's standard error.
    """

    difference: float
    low: float
    high: float
    p: float


def mean_ap_differences(
    truth: NDArray[np.bool_],
    scores: Sequence[NDArray[np.floating]],
    contrasts: Sequence[Sequence[float]],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> list[MeanApDifference]:
    """Differences of mAPs on the same videos, each with its interval and p from a paired bootstrap over videos.

    Every resample draws videos for all recognizers at once, so what is hard for all cancels out. In a resample the mean
    is over the classes that occur there; one without any class counts as no difference. Interval and p are those of a
    normal distribution with the standard error of the resamples (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, section 12.3). The resamples themselves are not centred on the difference: the mAP of few videos
    per class is too high, and more so for the weaker recognizer. `benchmarks/mean_ap_intervals.py` compares kinds of
    intervals on drawn scores.

    Args:
        truth: bool N K, which classes each video shows.
        scores: of M recognizers N K each; a row of NaN is a video that could not be read.
        contrasts: one per difference, M weights of the mAPs: `(-1, 1)` is the second minus the first.
        level: probability that an interval is meant to hold.
        resamples: how many times N videos are drawn with replacement.
        seed: of the draws; the same seed gives the same intervals.

    Returns:
        One entry per contrast.

    Raises:
        KinemaError: no video, no video with a label, or shapes that do not match.
    """
    matrix = np.asarray(contrasts, dtype=np.float64)
    if not truth.any():
        raise KinemaError("no video of the test has a label: an mAP needs at least one; test on data with labels")
    if any(s.shape != truth.shape for s in scores) or matrix.shape != (len(contrasts), len(scores)):
        shapes = ", ".join(str(s.shape) for s in scores)
        raise KinemaError(f"scores of shape {shapes} and contrasts of shape {matrix.shape} for truth {truth.shape}")
    n, occurring = len(truth), np.flatnonzero(truth.any(0))

    def statistic(drawn: NDArray[np.integer], axis: int) -> NDArray[np.float64]:
        """Differences per resample, P or P R, of the numbers of drawn videos, N or R N."""
        rows = np.atleast_2d(drawn)
        places = rows + n * np.arange(len(rows))[:, None]
        weights = np.bincount(places.ravel(), minlength=rows.size).reshape(len(rows), n).astype(np.float64)
        found = matrix @ np.stack([mean_aps(truth[:, occurring], s[:, occurring], weights) for s in scores])
        return found if drawn.ndim > 1 else found[:, 0]

    differences = statistic(np.arange(n), -1)
    if n == 1:  # scipy refuses it, and every resample is this one
        return [MeanApDifference(float(d), float(d), float(d), 1.0) for d in differences]
    # scipy >= 1.15 calls the argument `rng`, and takes this name too.
    errors = scipy.stats.bootstrap(
        (np.arange(n),), statistic, n_resamples=resamples, batch=max(1, _AT_ONCE // n), method="percentile",
        vectorized=True, random_state=np.random.default_rng(seed),
    ).standard_error  # fmt: skip
    wide = float(scipy.stats.norm.ppf((1 + level) / 2))
    return [
        MeanApDifference(
            float(d), max(-1.0, float(d - wide * e)), min(1.0, float(d + wide * e)), _p(float(d), float(e))
        )
        for d, e in zip(differences, errors, strict=True)
    ]


def mean_aps(
    truth: NDArray[np.bool_], scores: NDArray[np.floating], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mAP for each of several weightings of the videos, over the classes that occur in it.

    Args:
        truth: bool N K.
        scores: N K; a row of NaN is a video that could not be read.
        weights: R N, how often each video counts.

    Returns:
        float64 R, 0 to 1; 0 where no class occurs.
    """
    sums, counts = np.zeros(len(weights)), np.zeros(len(weights))
    for k in range(truth.shape[1]):
        found = weighted_average_precisions(truth[:, k], scores[:, k], weights)
        known = ~np.isnan(found)
        sums[known] += found[known]
        counts += known
    return np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)


def _p(difference: float, error: float) -> float:
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * scipy.stats.norm.sf(abs(difference) / error))
