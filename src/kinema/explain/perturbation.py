"""Deletion and insertion: the score while the voxels with the largest map values are removed, or shown first.

Source: Petsiuk, Das and Saenko, RISE, BMVC 2018, section 3.2; here over time as well as space.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from kinema.errors import KinemaError, unknown
from kinema.models.modes import in_evaluation

Baseline = Literal["blur", "freeze", "mean"]

_BLUR = 16  # the standard deviation of the blur is the shorter side divided by this


@dataclass(frozen=True)
class Curves:
    """The score of a class along deletion and insertion.

    Attributes:
        shares: share of the voxels that are deleted or inserted, 0 to 1 [S + 1].
        deletion: softmax score after deletion of that share [N, S + 1]; it falls early if the map is right.
        insertion: softmax score after insertion of that share [N, S + 1]; it rises early if the map is right.
    """

    shares: Tensor
    deletion: Tensor
    insertion: Tensor

    @property
    def areas(self) -> tuple[Tensor, Tensor]:
        """Returns the areas under both curves, 0 to 1 [N] each."""
        return torch.trapezoid(self.deletion, self.shares), torch.trapezoid(self.insertion, self.shares)


def baseline_clips(clips: Tensor, baseline: Baseline = "blur") -> Tensor:
    """Returns clips with less information, from which the values of deleted voxels are taken.

    Args:
        clips: N 3 T H W.
        baseline: `blur`: each frame is blurred by a Gaussian with a standard deviation of 1/16 of the shorter side,
            which removes small details and keeps large movements. `freeze`: the middle frame at all times, which
            removes only movement. `mean`: the mean colour of the clip, which removes everything, but adds edges that no
            video has.

    Returns:
        N 3 T H W.

    Raises:
        KinemaError: there is no such baseline.
    """
    if baseline not in get_args(Baseline):
        raise unknown("baseline", str(baseline), get_args(Baseline))
    if baseline == "freeze":
        return clips[:, :, clips.shape[2] // 2].unsqueeze(2).expand_as(clips).clone()
    if baseline == "mean":
        return clips.mean((2, 3, 4), keepdim=True).expand_as(clips).clone()
    height, width = clips.shape[3:]
    deviation = min(height, width) / _BLUR
    rows, columns = (_gaussian(n, deviation, clips) for n in (height, width))
    return rows @ clips @ columns.T


def _gaussian(n: int, deviation: float, like: Tensor) -> Tensor:
    """Returns the matrix [n, n] that blurs n values; at the borders the weights are renormalised."""
    at = torch.arange(n, device=like.device, dtype=torch.float32)
    weights = torch.exp(-((at[:, None] - at) ** 2) / (2 * deviation**2))
    return (weights / weights.sum(1, keepdim=True)).to(like.dtype)


def perturbation_curves(
    model: nn.Module, clips: Tensor, targets: Sequence[int], maps: Tensor, *, baseline: Baseline = "blur",
    steps: int = 10, batch: int = 8, seed: int = 0,
) -> Curves:  # fmt: skip
    """Deletes and inserts the voxels of clips in the order of their maps.

    Args:
        model: clips N 3 T H W -> logits N K, K at least 2; it runs in evaluation mode and is left unchanged.
        clips: N 3 T H W, normalised.
        targets: per clip the class whose score is recorded.
        maps: N T H W; voxels with larger values come first, voxels with equal values in random order.
        baseline: see `baseline_clips`.
        steps: S, number of equal parts of the voxels.
        batch: clips per forward pass.
        seed: seed of the order of equal values.

    Raises:
        KinemaError: shapes do not match, a map is not finite, a class does not exist, or steps is below 1.
    """
    check_inputs(clips, targets, maps)
    if steps < 1 or batch < 1:
        raise KinemaError(f"steps {steps}, batch {batch}: give at least 1 of each")
    counts = [round(i * maps[0].numel() / steps) for i in range(steps + 1)]
    base = baseline_clips(clips, baseline)
    order = torch.Generator().manual_seed(seed)
    found = torch.zeros(2, len(clips), steps + 1)

    def pictures() -> Iterator[tuple[int, int, int, Tensor]]:
        """Yields curve, clip index, step and the clip 3 T H W; the ends of both curves are the same clips."""
        for n in range(len(clips)):
            place = _places(maps[n], order).to(clips.device)
            yield 0, n, 0, clips[n]
            yield 1, n, 0, base[n]
            for step in range(1, steps):
                first = place < counts[step]
                yield 0, n, step, torch.where(first, base[n], clips[n])
                yield 1, n, step, torch.where(first, clips[n], base[n])

    with in_evaluation(model), torch.no_grad():
        for group in _grouped(pictures(), batch):
            scores = model(torch.stack([picture for *_, picture in group])).float().softmax(1).cpu()
            if max(targets) >= scores.shape[1] or scores.shape[1] < 2:
                raise KinemaError(f"target is {max(targets)}: the network has {scores.shape[1]} classes")
            for (curve, n, step, _), row in zip(group, scores, strict=True):
                found[curve, n, step] = row[targets[n]]
    found[0, :, -1], found[1, :, -1] = found[1, :, 0], found[0, :, 0]
    return Curves(torch.tensor(counts) / counts[-1], found[0], found[1])


def check_inputs(clips: Tensor, targets: Sequence[int], maps: Tensor) -> None:
    """Rejects clips, classes and maps that do not match.

    Raises:
        KinemaError: see `perturbation_curves`.
    """
    if clips.dim() != 5 or not len(clips):
        raise KinemaError(f"clips has shape {tuple(clips.shape)}: give N 3 T H W with at least one clip")
    if maps.shape != (len(clips), *clips.shape[2:]):
        raise KinemaError(
            f"maps has shape {tuple(maps.shape)}: give N T H W of the clips, {(len(clips), *clips.shape[2:])}"
        )
    if not maps.isfinite().all():
        raise KinemaError("maps contains values that are not finite: give finite values")
    if len(targets) != len(clips) or min(targets) < 0:
        raise KinemaError(f"targets is {list(targets)}: give the index of a class for each of the {len(clips)} clips")


def _places(values: Tensor, order: torch.Generator) -> Tensor:
    """Returns the rank of every voxel, 0 for the largest value; equal values in random order."""
    flat = values.detach().float().cpu().flatten()
    shuffled = torch.randperm(len(flat), generator=order)
    ranked = shuffled[flat[shuffled].argsort(descending=True, stable=True)]
    place = torch.empty_like(ranked)
    place[ranked] = torch.arange(len(flat))
    return place.view(values.shape)


def _grouped(items: Iterator[tuple[int, int, int, Tensor]], size: int) -> Iterator[list[tuple[int, int, int, Tensor]]]:
    group = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
