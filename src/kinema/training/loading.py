"""Batches for training. They depend only on seed, epoch and step, so that a run can be resumed at any step."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from kinema.clip_spec import ClipSpec
from kinema.data.datasets import ClipKey, Failure, TestVideos, TrainClips, collate_train
from kinema.data.label_sets import Target
from kinema.data.loading.loader import Loader
from kinema.data.manifest import Manifest
from kinema.processes import Rank, loader_workers
from kinema.training.config import TrainConfig
from kinema.training.mixing import balanced_order
from kinema.training.multigrid import Steps, all_steps
from kinema.training.videos import relative_names


class Batches(Sampler[list[ClipKey]]):
    """The batches of an epoch: every sample once (or every class equally often), in an order drawn from (seed, epoch).

    The epoch is sent with each sample, because the workers of a loader outlive an epoch and need it for the
    augmentation. With n processes, each gets every n-th clip of a batch. The object has no length, because the length
    may differ between epochs and Lightning would ask for it only once.

    Args:
        steps: number and shape of the clips in each batch.
        targets: class of each sample.
        config: seed and class balance of the run.
        rank: rank of this process.
    """

    def __init__(self, steps: Steps, targets: Sequence[Target], config: TrainConfig, rank: Rank) -> None:
        self.steps, self.targets, self.rank = steps, targets, rank
        self.seed, self.balance = config.seed, config.balance
        self.epoch = self.first = 0
        self.resumed: tuple[int, int] | None = None

    @property
    def sampler(self) -> Batches:
        """This object itself: Lightning calls `set_epoch` of the attribute with this name."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the following batches; Lightning calls it before every epoch."""
        self.epoch = epoch

    def go_on(self, epoch: int, step: int) -> None:
        """Makes the next batches start at a step of an epoch, as after a resume; later epochs are complete."""
        self.epoch, self.resumed = epoch, (epoch, step)

    def __iter__(self) -> Iterator[list[ClipKey]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        n = len(self.targets)
        order = balanced_order(self.targets, n, rng) if self.balance == "classes" else rng.permutation(n)
        first = self.resumed[1] if self.resumed and self.resumed[0] == self.epoch else 0
        drawn: Counter[int] = Counter()
        at = 0
        for step, shape in enumerate(self.steps.of(self.epoch)):
            keys = []
            for i in order[at : at + shape.clips].tolist():
                keys.append(ClipKey(self.epoch, i, shape.frames, shape.crop, drawn[i]))
                drawn[i] += 1
            at += shape.clips
            if step >= first:
                yield keys[self.rank.index :: self.rank.world]


class TimedLoader(Loader[dict[str, Any]]):
    """A loader that adds to each batch, as `waited`, the seconds that the training waited for it.

    For a loader without a length, Lightning fetches a batch before the previous step has run, so that a callback
    cannot measure which batch was slow.
    """

    def __iter__(self) -> Iterator[dict[str, Any]]:
        began = time.perf_counter()
        for batch in super().__iter__():
            yield {**batch, "waited": time.perf_counter() - began}
            began = time.perf_counter()


def train_loader(
    manifest: Manifest, labels: tuple[str, ...], spec: ClipSpec, config: TrainConfig, cuda: bool, rank: Rank
) -> tuple[TimedLoader, Batches]:
    """Builds the loader of augmented training clips in the shapes of the schedule, and its batch sampler."""
    clips = TrainClips(
        manifest, labels, spec, config.augment, config.seed, twins=config.twins.weight > 0,
        multi_label=config.loss == "binary",
    )  # fmt: skip
    steps = all_steps(
        config.multigrid, epochs=config.epochs, samples=len(clips), batch=config.batch * config.accumulate,
        frames=spec.frames, crop=spec.crop,
    )  # fmt: skip
    batches = Batches(steps, clips.targets, config, rank)
    largest = max(shape.clips for epoch in range(config.epochs) for shape in steps.of(epoch))
    return _loader(clips, batches, config, cuda, collate_train, -(-largest // rank.world)), batches


def val_loader(
    manifest: Manifest, labels: tuple[str, ...], spec: ClipSpec, config: TrainConfig, cuda: bool, rank: Rank
) -> TimedLoader:
    """Builds the loader of one central clip per video. Each of n processes gets every n-th, in as many batches."""
    videos = TestVideos(manifest, labels, spec, 1, 1, multi_label=config.loss == "binary")
    together = config.batch * rank.world
    parts = [range(begin, min(begin + together, len(videos))) for begin in range(0, len(videos), together)]
    own = [list(part[rank.index :: rank.world]) for part in parts]
    return _loader(videos, own, config, cuda, _collate_central, config.batch)


def fingerprint(manifest: Manifest) -> str:
    """Hashes (SHA-256) the names of the videos relative to their common folder, their labels and times, in order."""
    names = relative_names([s.path for s in manifest.samples])
    rows = [[name, s.label, s.start, s.end] for name, s in zip(names, manifest.samples, strict=True)]
    whole = json.dumps([manifest.labels, sorted(manifest.flip_map.items()), rows])
    return hashlib.sha256(whole.encode()).hexdigest()


def _loader(
    data: TrainClips | TestVideos, batches: Any, config: TrainConfig, cuda: bool, collate: Any, largest: int
) -> TimedLoader:
    readers = loader_workers(config.workers, config.processes)
    return TimedLoader(
        data, batches, partial(collate, pinned=cuda), readers=readers, largest=largest, limits=config.limits
    )


def _collate_central(items: list[Any], pinned: bool) -> dict[str, Any]:
    """Collates a batch of videos with one view each."""
    clips = [i if isinstance(i, Failure) else {**i, "clip": i["views"][0]} for i in items]
    return collate_train(clips, pinned=pinned)
