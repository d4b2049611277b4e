"""`evaluate`: tests a recognizer on a manifest. Every video is read once for all its views and counted once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinema.data.addresses import is_address
from kinema.data.datasets import TestVideos, collate_test
from kinema.data.loading.limits import ReadLimits
from kinema.data.loading.loader import Loader
from kinema.data.manifest import Manifest, data_root
from kinema.data.packing.origins import read_origins
from kinema.data.paths import relative
from kinema.data.shards.index import find_member
from kinema.errors import KinemaError, RunError
from kinema.evaluation.metrics import most_frequent
from kinema.evaluation.result import TestResult
from kinema.evaluation.views import ViewProof, prove, summarise
from kinema.processes import all_gather_object, connected_rank, loader_workers, room_for_readers
from kinema.recognizer import Recognizer

Progress = Callable[[int, int], object]  # finished videos, expected videos


@dataclass(frozen=True)
class _VideoResult:
    """The result for one video: averaged scores K or why it could not be read, its views, its size in bytes."""

    scores: NDArray[np.float32] | None
    error: str | None
    proof: ViewProof | None
    size: int | None


def evaluate(
    recognizer: Recognizer,
    manifest: Manifest,
    *,
    views: tuple[int, int] = (1, 1),
    random_clips: int | None = None,
    workers: int = -1,
    batch: int = 8,
    limits: ReadLimits | None = None,
    device: str | torch.device | None = None,
    train_labels: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> TestResult:
    """Tests a recognizer.

    An unreadable video is kept, recorded with the reason, and counted as wrong in every figure.
    Connected processes (`kinema.processes.connected`) share the videos, and each gets the whole result.

    Args:
        recognizer: the tested recognizer.
        manifest: the videos, usually `read_manifest(data, check=False).split("test")`.
        views: clips and crops of each video.
        random_clips: a seed: clips are random as in training (STM, section 4.2), determined by the seed and the name of
            the video; None takes clips at fixed positions.
        workers: processes that read videos; 0 reads in this one, without protection from a decoder that crashes or
            hangs, -1 is one per core, at most 16.
        batch: views per forward pass.
        limits: limits for reading one video before it is given up as unreadable.
        device: device of the network; None leaves it unchanged.
        train_labels: label of every training video, for the accuracy of always predicting the most frequent one.
        progress: called after every few videos with the finished videos of this process and their total.

    Returns:
        The scores, labels and errors of all videos, and the figures.

    Raises:
        KinemaError: the recognizer lacks a label, the views are invalid, or the manifest is empty.
        RunError: no video could be read, or the scores of the network are not finite.
    """
    clips, crops = views
    if batch < 1 or workers < -1:
        raise KinemaError(f"batch {batch}, workers {workers}: give a batch of at least 1, and 0 or more workers or -1")
    if not manifest.samples:
        raise KinemaError(f"{manifest.source} contains no video to test on: give another split")
    several = recognizer.multi_label
    data = TestVideos(
        manifest, recognizer.labels, recognizer.spec, clips, crops, random_clips=random_clips, multi_label=several
    )
    if device is not None:
        recognizer.to(device)
    n, total, here = len(data), clips * crops, connected_rank()
    own = range(here.index, n, here.world)
    sizes = {i: _size(manifest.samples[i].path) for i in own}
    rows: dict[int, _VideoResult] = {}
    for read in _batches(data, own, max(1, batch // total), workers, limits):
        for failure in read["failures"]:
            _count(rows, failure.index, _VideoResult(None, failure.reason, None, sizes[failure.index]))
        if read["path"]:
            means = _average(recognizer, read["views"], batch, read["path"])
            for i, scores_of, keys in zip(read["index"].tolist(), means, read["keys"], strict=True):
                _count(rows, i, _VideoResult(scores_of, None, prove(keys), sizes[i]))
        if progress is not None:
            progress(len(rows), len(own))
    whole: dict[int, _VideoResult] = {}
    for part in all_gather_object(rows):
        for i, row in part.items():
            _count(whole, i, row)
    if len(whole) != n:  # a sampler that repeats or drops videos would silently change the figures
        raise AssertionError(f"{n - len(whole)} videos were not counted")
    scores = np.full((n, len(recognizer.labels)), np.nan, dtype=np.float32)
    for i, row in whole.items():
        if row.scores is not None:
            scores[i] = row.scores
    found = [whole[i] for i in range(n)]
    errors = tuple(row.error for row in found)
    _require_read(manifest, errors)
    root, samples = data_root(manifest.source), manifest.samples
    paths = tuple(relative(sample.path, root) for sample in samples)
    origins = read_origins(root)
    return TestResult(
        labels=recognizer.labels,
        root=manifest.source if is_address(manifest.source) else str(root.resolve()),
        paths=paths,
        spans=tuple((sample.start, sample.end) for sample in samples),
        truth=tuple(sample.label for sample in samples),
        scores=scores,
        errors=errors,
        sizes=tuple(row.size for row in found),
        distinct_views=tuple(None if row.proof is None else row.proof.distinct for row in found),
        views=summarise([row.proof for row in found if row.proof is not None], clips, crops, random_clips),
        absent=manifest.all_absent,
        train_majority=most_frequent(train_labels, recognizer.labels) if train_labels and not several else None,
        multi_label=several,
        packed_from=() if origins is None else tuple(origins.names.get(path, path) for path in paths),
        packed_root="" if origins is None else origins.root,
    )


def _size(path: str) -> int | None:
    """Returns the bytes of a file or of all pictures in a folder, which distinguish videos of the same name."""
    try:
        member = find_member(path)
        if member is not None:
            return member.size
        video = Path(path)
        parts = video.iterdir() if video.is_dir() else [video]
        return sum(part.stat().st_size for part in parts)
    except (OSError, ValueError):  # it does not exist, or the name is invalid
        return None


def _count(rows: dict[int, _VideoResult], index: int, row: _VideoResult) -> None:
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
    """Returns scores B K for views uint8 B V T S S 3."""
    means = recognizer.average(views, batch=batch).numpy()
    broken = [path for path, row in zip(paths, means, strict=True) if not np.isfinite(row).all()]
    if broken:
        raise RunError(f"{broken[0]}: the network's scores are not finite; its weights are damaged, train it again")
    return means


def _require_read(manifest: Manifest, errors: Sequence[str | None]) -> None:
    if any(error is None for error in errors):
        return
    first = f"{manifest.samples[0].path}: {errors[0]}"
    raise RunError(f"{manifest.source}: none of {len(errors)} videos could be read (first {first}); check the paths")
