"""Composition of a batch and of its labels: class-balanced draws, mixup, label smoothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def mixup(
    clips: Tensor, labels: Tensor, classes: int, alpha: float, smoothing: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mixes every clip with another clip of the batch, and their labels in the same way (Zhang et al., mixup, 2018).

    The weight is drawn once per batch, as in the original: weight * clip + (1 - weight) * partner. Smoothed targets
    give `F.cross_entropy` the same result as its `label_smoothing`. If clips have several labels, each target is
    smoothed separately, towards one half.

    Args:
        clips: float `N 3 T H W`; **mixed in place**.
        labels: int64 `N`; or float32 `N K` of 0 and 1, if clips have several labels.
        classes: K.
        alpha: the weight is drawn from Beta(alpha, alpha); 0 does not mix.
        smoothing: part of every target that is spread evenly over all classes.
        rng: source of all randomness; two generators with the same seed mix two views of the same clips alike.

    Returns:
        (`clips` itself, float32 targets `N K`; each row sums to 1 if each clip has one label).
    """
    if labels.ndim == 2:
        targets = labels * (1 - smoothing) + smoothing / 2
    else:
        hot = torch.zeros(len(labels), classes, device=labels.device).scatter_(1, labels[:, None], 1.0)
        targets = hot.mul_(1 - smoothing).add_(smoothing / classes)
    if alpha > 0 and len(clips) > 1:
        share = float(rng.beta(alpha, alpha))
        partner = torch.from_numpy(rng.permutation(len(clips))).to(clips.device)
        clips.lerp_(clips[partner], 1 - share)
        targets.lerp_(targets[partner], 1 - share)
    return clips, targets


def balanced_order(targets: Sequence[Any] | NDArray[Any], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draws clips so that every class occurs equally often.

    Each class that has clips occurs n / classes times, rounded up or down at random. No clip of a class is drawn a
    second time before all its clips have been drawn once, and so on.

    Args:
        targets: class of every clip.
        n: length of the order.
        rng: source of all randomness.

    Returns:
        int64 `n`: indices into `targets`, shuffled.
    """
    values = np.asarray(targets)
    by_class = np.argsort(values, kind="stable")
    members = np.split(by_class, np.flatnonzero(np.diff(values[by_class])) + 1)
    wanted = np.full(len(members), n // len(members))
    wanted[rng.permutation(len(members))[: n % len(members)]] += 1
    drawn = [
        np.concatenate([rng.permutation(own) for _ in range(-(-count // len(own)))])[:count]
        for own, count in zip(members, wanted.tolist(), strict=True)
        if count
    ]
    return rng.permutation(np.concatenate(drawn)) if drawn else np.empty(0, np.int64)
