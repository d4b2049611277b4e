"""`evaluate`: a recognizer on a manifest. Every video is read once for all its views and counted once, read or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinema.data.datasets import TestVideos, collate_test, label_indices
from kinema.data.loading.limits import ReadLimits
from kinema.data.loading.loader import Loader
from kinema.data.manifest import Manifest
from kinema.data.sources import Sample
from kinema.errors import KinemaError, RunError
from kinema.evaluation.metrics import Metrics, measure, true_ranks
from kinema.evaluation.views import ViewProof, ViewSummary, prove, summarise
from kinema.processes import all_gather_object, connected_rank, loader_workers, room_for_readers
from kinema.recognizer import Recognizer

Progress = Callable[[int, int], object]  # videos done, videos expected


@dataclass(frozen=True)
class Row:
    """What is known of one video: its averaged scores K or why it could not be read, and what its views were."""

    scores: NDArray[np.float32] | None
    error: str | None
    proof: ViewProof | None


@dataclass(frozen=True)
class TestResult:
    """What came out of a test, one entry a video in the order of the manifest.

    Attributes:
        source: the data it was made on.
        labels: K names, in the order of the scores.
        samples: the N videos.
        targets: int64 N, the outputs that they should get.
        scores: float32 N K, softmax scores averaged over views; NaN for a video that could not be read.
        errors: N, why a video could not be read, or None.
        proofs: N, what is known of its views, or None.
        metrics: all figures.
        views: whether the views differ.
        absent: videos that the annotation of the data names beside the N and that are not there.
    """

    __test__ = False  # not a test of pytest's

    source: str
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    targets: NDArray[np.int64]
    scores: NDArray[np.float32]
    errors: tuple[str | None, ...]
    proofs: tuple[ViewProof | None, ...]
    metrics: Metrics
    views: ViewSummary
    absent: tuple[str, ...] = ()

    @property
    def correct(self) -> NDArray[np.bool_]:
        """N, right or wrong; a video that could not be read is wrong."""
        return true_ranks(self.targets, self.scores) < 1

    @property
    def predictions(self) -> tuple[str | None, ...]:
        """The label with the highest score (the first of equal ones), or None."""
        return tuple(
            None if error is not None else self.labels[int(row.argmax())]
            for row, error in zip(self.scores, self.errors, strict=True)
        )

    @property
    def failures(self) -> tuple[tuple[str, str], ...]:
        """Path and reason of every video that could not be read."""
        pairs = zip(self.samples, self.errors, strict=True)
        return tuple((sample.path, error) for sample, error in pairs if error is not None)


def evaluate(
    recognizer: Recognizer,
    manifest: Manifest,
    *,
    views: tuple[int, int] = (1, 1),
    workers: int = -1,
    batch: int = 8,
    limits: ReadLimits | None = None,
    device: str | torch.device | None = None,
    train_labels: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> TestResult:
    """Tests a recognizer.

    A video that cannot be read is an error of the test: it is kept, noted with the reason, and wrong in every figure.
    Processes that are connected (`kinema.processes.connected`) share the videos, and each gets the whole result.

    Args:
        recognizer: what is tested.
        manifest: the videos, usually `read_manifest(data, check=False).split("test")`.
        views: clips and crops of each video.
        workers: processes that read videos; 0 reads in this one, without protection from a decoder that crashes or
            hangs, -1 is one per core, at most 16.
        batch: views in one pass of the network.
        limits: what reading one video may cost before it is given up as unreadable.
        device: where the network goes; None leaves it where it is.
        train_labels: label of every training video, for the figure of always naming the most frequent one.
        progress: called after every few videos with the videos that this process has done and shall do.

    Raises:
        KinemaError: a label that the recognizer does not have, views that cannot be cut, or an empty manifest.
        RunError: no video could be read, or the network gives scores that are not finite.
    """
    clips, crops = views
    if batch < 1 or workers < -1:
        raise KinemaError(f"batch {batch}, workers {workers}: give a batch of at least 1, and 0 or more workers or -1")
    if not manifest.samples:
        raise KinemaError(f"{manifest.source} holds no video to test on: name another split")
    data = TestVideos(manifest, recognizer.labels, recognizer.spec, clips, crops)
    if device is not None:
        recognizer.to(device)
    n, total, here = len(data), clips * crops, connected_rank()
    own = range(here.index, n, here.world)
    rows: dict[int, Row] = {}
    for read in _batches(data, own, max(1, batch // total), workers, limits):
        for failure in read["failures"]:
            _count(rows, failure.index, Row(None, failure.reason, None))
        if read["path"]:
            means = _average(recognizer, read["views"], batch, read["path"])
            for i, scores_of, keys in zip(read["index"].tolist(), means, read["keys"], strict=True):
                _count(rows, i, Row(scores_of, None, prove(keys)))
        if progress is not None:
            progress(len(rows), len(own))
    whole: dict[int, Row] = {}
    for part in all_gather_object(rows):
        for i, row in part.items():
            _count(whole, i, row)
    if len(whole) != n:  # a sampler that pads or drops would silently change the figures
        raise AssertionError(f"{n - len(whole)} videos were not counted")
    scores = np.full((n, len(recognizer.labels)), np.nan, dtype=np.float32)
    for i, row in whole.items():
        if row.scores is not None:
            scores[i] = row.scores
    errors = [whole[i].error for i in range(n)]
    proofs = [whole[i].proof for i in range(n)]
    _require_read(manifest, errors)
    targets = np.array(label_indices(manifest, recognizer.labels), dtype=np.int64)
    return TestResult(
        source=manifest.source,
        labels=recognizer.labels,
        samples=manifest.samples,
        targets=targets,
        scores=scores,
        errors=tuple(errors),
        proofs=tuple(proofs),
        metrics=measure(targets, scores, recognizer.labels, train_labels=train_labels, absent=len(manifest.all_absent)),
        views=summarise([p for p in proofs if p is not None], clips, crops),
        absent=manifest.all_absent,
    )


def _count(rows: dict[int, Row], index: int, row: Row) -> None:
    if index in rows:
        raise AssertionError(f"video {index} was counted twice")
    rows[index] = row


def _batches(
    data: TestVideos, own: range, videos: int, workers: int, limits: ReadLimits | None
) -> Iterator[dict[str, Any]]:
    parts = [own[begin : begin + videos] for begin in range(0, len(own), videos)]
    readers = min(loader_workers(workers), len(own))
    with (
        Loader(data, parts, collate_test, readers=readers, largest=videos, limits=limits) as loader,
        room_for_readers(readers),
    ):
        yield from loader


def _average(recognizer: Recognizer, views: Tensor, batch: int, paths: list[str]) -> NDArray[np.float32]:
    """uint8 B V T S S 3 -> B K."""
    means = recognizer.average(views, batch=batch).numpy()
    broken = [path for path, row in zip(paths, means, strict=True) if not np.isfinite(row).all()]
    if broken:
        raise RunError(f"{broken[0]}: the network's scores are not finite; its weights are damaged, train it anew")
    return means


def _require_read(manifest: Manifest, errors: Sequence[str | None]) -> None:
    if any(error is None for error in errors):
        return
    first = f"{manifest.samples[0].path}: {errors[0]}"
    raise RunError(f"{manifest.source}: none of {len(errors)} videos could be read (first {first}); check the paths")
