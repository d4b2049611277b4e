"""`TestResult`: what a test found, video by video. `evaluate` makes it, `results` writes and reads it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kinema.data.label_sets import joined, label_set
from kinema.errors import KinemaError
from kinema.evaluation.metrics import Coverage, Metrics, measure, true_ranks
from kinema.evaluation.multi_label import MultiLabelMetrics, measure_sets
from kinema.evaluation.thresholded import THRESHOLD
from kinema.evaluation.views import ViewSummary


@dataclass(frozen=True)
class TestResult:
    """The result of a test: one entry per video, in the order of the data.

    Attributes:
        labels: K names, in the order of the scores.
        root: absolute path of the folder in which relative paths start.
        paths: N, relative to `root` for videos that lie below it, else as the data gives them.
        spans: N pairs of start and end in seconds; None is the beginning or the end of the video.
        truth: N labels.
        scores: float32 N K, softmax scores (sigmoids with `multi_label`) averaged over views; NaN for a video that
            could not be read.
        errors: N, why a video could not be read, or None.
        sizes: N, bytes of a video's file or of the pictures in its folder; None where it is missing, and in files that
            were written before sizes were kept.
        distinct_views: N, how many views of a video differ; None for a video that could not be read.
        views: summary of the views; None where `scores.parquet` was read without its `metrics.json`.
        absent: videos that the annotation of the data names beside the N and that are missing. They count nowhere.
            Empty for a result that was read from a file: only `ledger.csv` lists them.
        train_majority: the most frequent label of the training videos; None where it is not known.
        multi_label: a video may have any number of labels, which stand in `truth` with semicolons between.
        packed_from: N, the file that each video is a packed copy of, relative to `packed_root`; empty if the data were
            not packed.
        packed_root: absolute path of the folder of the data that were packed; empty where they were not.
    """

    __test__ = False  # pytest would collect a class of this name

    labels: tuple[str, ...]
    root: str
    paths: tuple[str, ...]
    spans: tuple[tuple[float | None, float | None], ...]
    truth: tuple[str, ...]
    scores: NDArray[np.float32]
    errors: tuple[str | None, ...]
    sizes: tuple[int | None, ...]
    distinct_views: tuple[int | None, ...]
    views: ViewSummary | None = None
    absent: tuple[str, ...] = ()
    train_majority: str | None = None
    multi_label: bool = False
    packed_from: tuple[str, ...] = ()
    packed_root: str = ""

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """int64 N, the index of the true label of each video in `labels`.

        Raises:
            KinemaError: a video may have several.
        """
        if self.multi_label:
            raise KinemaError(f"{self.root}: its videos have several labels each: use truth_sets and set_metrics")
        index = {label: i for i, label in enumerate(self.labels)}
        return np.array([index[label] for label in self.truth], dtype=np.int64)

    @cached_property
    def truth_sets(self) -> NDArray[np.bool_]:
        """bool N K, which labels each video has."""
        index = {label: i for i, label in enumerate(self.labels)}
        sets = np.zeros((len(self.truth), len(self.labels)), dtype=bool)
        for row, names in zip(sets, self.truth, strict=True):
            row[[index[name] for name in (label_set(names) if self.multi_label else (names,))]] = True
        return sets

    @cached_property
    def predictions(self) -> tuple[str | None, ...]:
        """N, the label with the highest score (the first of equal ones), or None for a video that could not be read.

        Where a video may have several labels, those whose scores reach one half, as `truth` writes them.
        """
        return tuple(
            None if error is not None else predicted(self.labels, row, multi_label=self.multi_label)
            for row, error in zip(self.scores, self.errors, strict=True)
        )

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """bool N; a video that could not be read is wrong."""
        return true_ranks(self.targets, self.scores) < 1

    @cached_property
    def metrics(self) -> Metrics:
        """All figures, computed on first use."""
        train_labels = None if self.train_majority is None else [self.train_majority]
        return measure(self.targets, self.scores, self.labels, train_labels=train_labels, absent=len(self.absent))

    @cached_property
    def set_metrics(self) -> MultiLabelMetrics:
        """All figures of a test with several labels per video, computed on first use."""
        return measure_sets(self.truth_sets, self.scores, self.labels, absent=len(self.absent))

    @property
    def coverage(self) -> Coverage:
        """The videos of the test."""
        failed = len(self.failures)
        return Coverage(len(self.errors), len(self.errors) - failed, failed, len(self.absent))

    @property
    def failures(self) -> tuple[tuple[str, str], ...]:
        """Path (as in `paths`) and reason of every video that could not be read."""
        pairs = zip(self.paths, self.errors, strict=True)
        return tuple((path, error) for path, error in pairs if error is not None)


def predicted(labels: tuple[str, ...], scores: NDArray[np.float32], *, multi_label: bool) -> str:
    """The label with the highest score, or with `multi_label` all whose score reaches one half, in one cell."""
    if multi_label:
        return joined(labels[i] for i in np.flatnonzero(scores >= THRESHOLD))
    return labels[int(scores.argmax())]
