"""Calibration: the agreement of the scores of a test with its accuracy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kinema.errors import KinemaError
from kinema.evaluation.result import TestResult
from kinema.evaluation.statistics import share_interval

BINS = 15  # as in Guo et al.


@dataclass(frozen=True)
class Bin:
    """The predictions whose confidence lies in one interval.

    Attributes:
        low: lower end, included only if it is 0.
        high: upper end, included.
        predictions: number of predictions.
        confidence: their mean confidence; None without predictions.
        accuracy: the share of them that is right; None without predictions.
        interval: Wilson's 95 % interval of that share; None without predictions.
    """

    low: float
    high: float
    predictions: int
    confidence: float | None
    accuracy: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Calibration:
    """Calibration of predictions.

    Attributes:
        ece: expected calibration error, 0 to 1: the mean over all predictions of |accuracy - confidence| of their bin
            (Guo et al., On Calibration of Modern Neural Networks, 2017, equation 3).
        mce: the largest |accuracy - confidence| of a bin (equation 5), which may come from a bin with few predictions.
        confidence: mean confidence, 0 to 1; too high if it exceeds `accuracy`.
        accuracy: share of the predictions that is right.
        predictions: number of predictions.
        unread: number of unreadable videos, which have no confidence and are not in these figures.
        bins: bins of equal width, from the lowest.
    """

    ece: float
    mce: float
    confidence: float
    accuracy: float
    predictions: int
    unread: int
    bins: tuple[Bin, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)


def reliability(confidence: ArrayLike, correct: ArrayLike, *, bins: int = BINS, unread: int = 0) -> Calibration:
    """Computes the reliability diagram of predictions.

    Args:
        confidence: N scores of the predicted labels, 0 to 1.
        correct: N booleans, whether each prediction is right.
        bins: number of intervals of equal width from 0 to 1.
        unread: number of videos without a prediction; only stored.

    Raises:
        KinemaError: there are no predictions, the lengths differ, a confidence is outside 0 to 1, or bins is below 1.
    """
    said, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=bool)
    if said.ndim != 1 or not len(said) or said.shape != right.shape:
        raise KinemaError(
            f"confidence of shape {said.shape}, correct of shape {right.shape}: give one value per prediction, and at "
            "least one prediction"
        )
    if bins < 1:
        raise KinemaError(f"bins is {bins}: give at least 1")
    # A softmax in float32 can exceed 1 by rounding.
    if not ((said >= 0) & (said <= 1 + 1e-5)).all():
        raise KinemaError("confidence contains a value outside 0 to 1: give softmax or sigmoid scores")
    place = np.clip(np.ceil(said * bins).astype(np.int64) - 1, 0, bins - 1)
    number = np.bincount(place, minlength=bins)
    sums, hits = np.bincount(place, said, bins), np.bincount(place, right, bins)
    found = tuple(
        Bin(
            i / bins, (i + 1) / bins, int(n), float(s / n) if n else None, float(h / n) if n else None,
            share_interval(int(h), int(n)) if n else None,
        )
        for i, (n, s, h) in enumerate(zip(number, sums, hits, strict=True))
    )  # fmt: skip
    gaps = np.abs(hits - sums)
    there = number > 0
    return Calibration(
        ece=float(gaps.sum() / len(said)),
        mce=float((gaps[there] / number[there]).max()),
        confidence=float(said.mean()),
        accuracy=float(right.mean()),
        predictions=len(said),
        unread=unread,
        bins=found,
    )


def calibration(result: TestResult, *, bins: int = BINS) -> Calibration | None:
    """Computes the calibration of a test.

    With one label per video, a prediction is the label with the highest score. With several labels per video, each
    label of each video is a prediction: its confidence is its sigmoid score, and it is right if the video has the
    label.

    Args:
        result: result of the test.
        bins: number of intervals from 0 to 1.

    Returns:
        None if no video could be read.
    """
    read = np.array([error is None for error in result.errors], dtype=bool)
    if not read.any():
        return None
    scores, unread = result.scores[read], int((~read).sum())
    if result.multi_label:
        return reliability(scores.ravel(), result.truth_sets[read].ravel(), bins=bins, unread=unread)
    return reliability(scores.max(1), result.correct[read], bins=bins, unread=unread)
