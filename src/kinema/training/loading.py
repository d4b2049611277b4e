"""Batches for training: an order that depends on seed and epoch alone, so that a run can be taken up again anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from kinema.clip_spec import ClipSpec
from kinema.cores import loader_workers, one_thread
from kinema.data.datasets import Failure, TestVideos, TrainClips, collate_train
from kinema.data.manifest import Manifest
from kinema.training.config import TrainConfig


class EpochOrder(Sampler[tuple[int, int]]):
    """Every sample once, in an order drawn from (seed, epoch); yields (epoch, sample).

    The epoch travels with the sample, because the workers of a loader outlive an epoch and must know it for the
    augmentation.
    """

    def __init__(self, samples: int, seed: int) -> None:
        self.samples, self.seed, self.epoch = samples, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.samples

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.samples)
        return iter([(self.epoch, int(i)) for i in order])


def train_loader(
    manifest: Manifest, labels: tuple[str, ...], spec: ClipSpec, config: TrainConfig, cuda: bool
) -> DataLoader:
    """Batches of augmented clips; the last batch of an epoch may be smaller."""
    clips = TrainClips(manifest, labels, spec, config.augment, config.seed)
    order = EpochOrder(len(clips), config.seed)
    return _loader(clips, config, cuda, order, collate_train)


def val_loader(
    manifest: Manifest, labels: tuple[str, ...], spec: ClipSpec, config: TrainConfig, cuda: bool
) -> DataLoader:
    """One central clip of every video."""
    return _loader(TestVideos(manifest, labels, spec, 1, 1), config, cuda, None, _collate_central)


def _loader(
    data: torch.utils.data.Dataset, config: TrainConfig, cuda: bool, order: EpochOrder | None,
    collate: Callable[[list[Any]], dict[str, Any]],
) -> DataLoader:  # fmt: skip
    workers = loader_workers(config.workers)
    return DataLoader(
        data,
        batch_size=config.batch,
        sampler=order,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=cuda,
        persistent_workers=workers > 0,
        worker_init_fn=one_thread,
        # A loader without one draws from the global generator, how often depends on its workers, and dropout would
        # then differ with their number.
        generator=torch.Generator().manual_seed(config.seed),
    )


def _collate_central(items: list[Any]) -> dict[str, Any]:
    """A batch of the only view of each video."""
    return collate_train([i if isinstance(i, Failure) else {**i, "clip": i["views"][0]} for i in items])
