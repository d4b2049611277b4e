"""Accuracies of a test. An unreadable video counts as wrong in all of them and is never left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinema.card import Schema, misshapen
from kinema.evaluation.statistics import LEVEL, share_interval
from kinema.text import printable

_MAJORITY: Schema = {"label": str, "share": float}
FIGURES: Schema = {  # keys of `metrics.json`
    "top1": float,
    "top1_interval": list,
    "topk": float,
    "k": int,
    "mean_class": float,
    "classes_tested": int,
    "majority": _MAJORITY,
    "train_majority": object,
    "coverage": {"expected": int, "read": int, "failed": int},
    "per_class": list,
}
_CLASS: Schema = {"label": str, "videos": int, "failed": int, "recall": object, "predicted": {}}


@dataclass(frozen=True)
class Coverage:
    """The numbers of videos behind a figure.

    Attributes:
        expected: videos of the test.
        read: videos that could be read.
        failed: videos that could not be read; they count as errors.
        absent: further videos in the annotation of a catalogue that do not exist; they are left out of all figures.
    """

    expected: int
    read: int
    failed: int
    absent: int = 0

    def __str__(self) -> str:
        verb = "is" if self.absent == 1 else "are"
        more = f"; {self.absent} more that the annotation names {verb} absent" if self.absent else ""
        return f"{self.expected} expected / {self.read} read / {self.failed} failed{more}"


@dataclass(frozen=True)
class Majority:
    """The accuracy of always predicting the same label.

    Attributes:
        label: the most frequent label (if several are equally frequent, the first in the order of the recognizer's
            labels).
        share: share of the test's videos that have it, 0 to 1.
    """

    label: str
    share: float


@dataclass(frozen=True)
class ClassResult:
    """One class of a test.

    Attributes:
        label: its name.
        videos: number of videos with this label in the test.
        failed: number of these videos that could not be read.
        recall: share of its videos that were recognised, 0 to 1; None if the test has none.
        predicted: what the readable ones were taken for, label -> videos, most frequent first: a row of the confusion
            matrix without its zeros.
    """

    label: str
    videos: int
    failed: int
    recall: float | None
    predicted: dict[str, int]


@dataclass(frozen=True)
class Metrics:
    """All figures of a test; accuracies are shares of the expected videos, 0 to 1.

    Attributes:
        top1: share of videos whose true label has the highest score.
        top1_interval: Wilson's interval of a share, level 0.95.
        topk: share of videos whose true label is among the k highest scores.
        k: 5, or the number of labels if there are fewer.
        mean_class: mean recall over the classes that occur in the test.
        classes_tested: number of these classes.
        majority: accuracy of always predicting the most frequent label of the test.
        train_majority: accuracy of always predicting the most frequent label of the training set; None if it is not
            known.
        coverage: the numbers of videos behind these figures.
        per_class: one entry per label, in the order of the recognizer.
    """

    top1: float
    top1_interval: tuple[float, float]
    topk: float
    k: int
    mean_class: float
    classes_tested: int
    majority: Majority
    train_majority: Majority | None
    coverage: Coverage
    per_class: tuple[ClassResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self) | {"interval": {"method": "wilson", "level": LEVEL}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Metrics:
        """Reads the figures of `to_dict`, as read back from JSON.

        Raises:
            KeyError: one of `FIGURES` is missing.
            ValueError: a key has an invalid value; the message is the key.
        """
        wrong = misshapen(values, FIGURES)
        if wrong is not None:
            raise ValueError(wrong)
        interval, train, counts = values["top1_interval"], values["train_majority"], values["coverage"]
        if len(interval) != 2 or not all(isinstance(end, float) for end in interval):
            raise ValueError("top1_interval")
        if train is not None and misshapen({"majority": train}, {"majority": _MAJORITY}):
            raise ValueError("train_majority")
        absent = counts.get("absent", 0)
        if not isinstance(absent, int):
            raise ValueError("coverage.absent")
        plain = {key: values[key] for key in ("top1", "topk", "k", "mean_class", "classes_tested")}
        return cls(
            **plain,
            top1_interval=(interval[0], interval[1]),
            majority=_majority(values["majority"]),
            train_majority=None if train is None else _majority(train),
            coverage=Coverage(counts["expected"], counts["read"], counts["failed"], absent),
            per_class=tuple(_class_result(entry) for entry in values["per_class"]),
        )


def measure(
    targets: NDArray[np.int64],
    scores: NDArray[np.float32],
    labels: Sequence[str],
    *,
    train_labels: Sequence[str] | None = None,
    absent: int = 0,
) -> Metrics:
    """Computes all figures of a test.

    Args:
        targets: N indices of the true labels.
        scores: N K; a row of NaN is a video that could not be read.
        labels: K names.
        train_labels: label of every training video, if they are known.
        absent: number of further videos in the annotation; no figure depends on it.
    """
    n, k = len(targets), min(5, len(labels))
    readable = ~np.isnan(scores).any(1)
    ranks = true_ranks(targets, scores)
    correct = ranks < 1
    confusion = confusion_matrix(targets[readable], scores[readable].argmax(1), len(labels))
    videos = np.bincount(targets, minlength=len(labels))
    per_class = []
    for i, label in enumerate(labels):
        row = sorted(np.flatnonzero(confusion[i]), key=lambda j: (-confusion[i, j], j))
        recall = float(confusion[i, i] / videos[i]) if videos[i] else None
        failed = int(videos[i] - confusion[i].sum())
        per_class.append(
            ClassResult(label, int(videos[i]), failed, recall, {labels[int(j)]: int(confusion[i, j]) for j in row})
        )
    recalls = [c.recall for c in per_class if c.recall is not None]
    shares = {label: float(videos[i] / n) for i, label in enumerate(labels)}
    top = labels[int(videos.argmax())]
    most = most_frequent(train_labels, labels) if train_labels else None
    return Metrics(
        top1=float(correct.mean()),
        top1_interval=share_interval(int(correct.sum()), n),
        topk=float((ranks < k).mean()),
        k=k,
        mean_class=float(np.mean(recalls)),
        classes_tested=len(recalls),
        majority=Majority(top, shares[top]),
        train_majority=Majority(most, shares[most]) if most is not None else None,
        coverage=Coverage(n, int(readable.sum()), int(n - readable.sum()), absent),
        per_class=tuple(per_class),
    )


def true_ranks(targets: NDArray[np.int64], scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Returns the number of labels ranked before the true one. Equal scores rank in the order of the labels.

    Args:
        targets: N.
        scores: N K; a row of NaN ranks the true label last, behind all K.

    Returns:
        int64 N.
    """
    if not len(targets):
        return np.zeros(0, dtype=np.int64)
    own = np.take_along_axis(scores, targets[:, None], 1)
    earlier = np.arange(scores.shape[1]) < targets[:, None]
    ranks = ((scores > own) | ((scores == own) & earlier)).sum(1)
    return np.where(np.isnan(scores).any(1), scores.shape[1], ranks).astype(np.int64)


def confusion_matrix(targets: NDArray[np.int64], predictions: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Counts videos by true label (rows) and predicted label (columns).

    Args:
        targets: N.
        predictions: N.
        classes: K.

    Returns:
        int64 K K.
    """
    flat = np.bincount(targets * classes + predictions, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def most_frequent(train_labels: Sequence[str], labels: Sequence[str]) -> str:
    """Returns the most frequent label of the training videos; if several, the first in the order of `labels`.

    Args:
        train_labels: label of every training video.
        labels: K names to choose from.
    """
    counts = Counter(train_labels)
    return max(labels, key=lambda label: counts[label])


def _majority(values: Mapping[str, Any]) -> Majority:
    return Majority(printable(values["label"]), values["share"])


def _class_result(values: Any) -> ClassResult:
    """Returns names in the form of `scores.parquet`; JSON escapes bytes that are not UTF-8 differently."""
    if misshapen({"class": values}, {"class": _CLASS}) or not isinstance(values["recall"], float | None):
        raise ValueError("per_class")
    if not all(isinstance(videos, int) for videos in values["predicted"].values()):
        raise ValueError("per_class")
    predicted = {printable(label): videos for label, videos in values["predicted"].items()}
    return ClassResult(printable(values["label"]), values["videos"], values["failed"], values["recall"], predicted)
