"""Precision and recall of the labels that a test predicts where a video may have several: those from a score on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinema.errors import KinemaError

THRESHOLD = 0.5  # from which on a test predicts a label


@dataclass(frozen=True)
class ClassCounts:
    """One class at a threshold.

    Attributes:
        label: its name.
        videos: that show it, unreadable ones included.
        predicted: videos for which it is predicted.
        right: those of them that show it.
    """

    label: str
    videos: int
    predicted: int
    right: int

    @property
    def precision(self) -> float | None:
        """Share of the predictions that are right, 0 to 1; None without a prediction."""
        return self.right / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """Share of the videos that show it for which it is predicted, 0 to 1; None where no video shows it."""
        return self.right / self.videos if self.videos else None


@dataclass(frozen=True)
class Thresholded:
    """The predictions of a test at a threshold, all classes together.

    Attributes:
        threshold: score from which on a label is predicted.
        precision: share of all predicted labels that are right, 0 to 1; None without a prediction.
        recall: share of all labels of the videos that are predicted, 0 to 1; None where no video has a label.
        f1: their harmonic mean, 2 right / (predicted + true labels); None where there is neither.
        exact: share of the videos whose labels are all predicted and no other.
        per_class: one entry per label, in the order of the recognizer.
    """

    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None
    exact: float
    per_class: tuple[ClassCounts, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        per_class = [asdict(c) | {"precision": c.precision, "recall": c.recall} for c in self.per_class]
        return asdict(self) | {"per_class": per_class}


def at_threshold(
    truth: NDArray[np.bool_], scores: NDArray[np.floating], labels: Sequence[str], *, threshold: float = THRESHOLD
) -> Thresholded:
    """Precision and recall of the labels whose scores reach a threshold.

    Nothing is predicted for a video that could not be read, and it never counts as exact.

    Args:
        truth: bool N K.
        scores: N K; a row of NaN is a video that could not be read.
        labels: K names.
        threshold: 0 to 1.

    Raises:
        KinemaError: shapes that do not match, no video, or a threshold outside 0 to 1.
    """
    if truth.shape != scores.shape or truth.ndim != 2 or truth.shape[1] != len(labels) or not len(truth):
        raise KinemaError(
            f"truth of shape {truth.shape}, scores of shape {scores.shape}, {len(labels)} labels: give one value per "
            "video and label, and at least one video"
        )
    if not 0 <= threshold <= 1:
        raise KinemaError(f"threshold is {threshold:g}: give a score from 0 to 1")
    predicted = scores >= threshold  # False for NaN
    right = predicted & truth
    exact = (predicted == truth).all(1) & ~np.isnan(scores).any(1)
    said, shown, hits = int(predicted.sum()), int(truth.sum()), int(right.sum())
    return Thresholded(
        threshold=threshold,
        precision=hits / said if said else None,
        recall=hits / shown if shown else None,
        f1=2 * hits / (said + shown) if said + shown else None,
        exact=float(exact.mean()),
        per_class=tuple(
            ClassCounts(label, int(n), int(p), int(h))
            for label, n, p, h in zip(labels, truth.sum(0), predicted.sum(0), right.sum(0), strict=True)
        ),
    )
