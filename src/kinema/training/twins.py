"""Twins Training (STM, journal version): two augmentations of the same frames, and the correlation of their logits."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from kinema.errors import KinemaError
from kinema.ops.precision import full_precision

_EPS = 1e-6  # below this length over the batch, the logits of a class have no direction


@dataclass(frozen=True)
class Twins:
    """Settings of Twins Training, equations 8 and 9.

    Attributes:
        weight: lambda of the correlation loss, 0.01 in the paper; 0 trains without twins.
        beta: weight of the off-diagonal correlations.
        centre: subtract each class's mean over the batch first (a true correlation; the paper's text does not do so).
        gather: correlate over the batches of all processes instead of over each process's own batch.
        joint: both views in one forward pass, so that BatchNorm sees them together; otherwise one after the other.
    """

    weight: float = 0.0
    beta: float = 0.0039
    centre: bool = False
    gather: bool = False
    joint: bool = True

    def __post_init__(self) -> None:
        for name in ("weight", "beta"):
            if not 0 <= getattr(self, name) < inf:
                raise KinemaError(f"twins.{name} is {getattr(self, name)}: give 0 or more")


def twins_loss(logits_a: Tensor, logits_b: Tensor, *, beta: float = 0.0039, centre: bool = False) -> Tensor:
    """Computes the correlation loss of two views (STM journal version, equation 8); the paper uses weight 0.01.

    Each class's column of logits is scaled to length 1 over the batch. `C[i, j]` is the product of column i of one view
    and column j of the other. The loss is the sum over i of (1 - C[i, i])^2 + beta * sum over i != j of C[i, j]^2. A
    column of zeros has no direction: its products are 0, and no gradient passes through it.

    Computed in float32 (float64 for float64 logits), also under autocast.

    Args:
        logits_a: `N K`, logits of one augmentation of N clips.
        logits_b: `N K`, logits of another augmentation of the same frames.
        beta: weight of the off-diagonal correlations.
        centre: subtract each column's mean first. Without it, as in the paper, a constant added to the logits counts as
            agreement between classes.

    Returns:
        A scalar.

    Raises:
        KinemaError: the shapes are wrong, or there are fewer than two clips: in a batch of one everything correlates.
    """
    if logits_a.ndim != 2 or logits_a.shape != logits_b.shape:
        raise KinemaError(
            f"twins_loss takes two batches of logits N K of the same shape, but these have {tuple(logits_a.shape)} "
            f"and {tuple(logits_b.shape)}"
        )
    _check_batch(len(logits_a))
    with full_precision(logits_a):
        c = _directions(logits_a, centre).T @ _directions(logits_b, centre)  # K K
        agreement = c.diagonal()
        others = c - torch.diag(agreement)
        return (1 - agreement).square().sum() + beta * others.square().sum()


def _directions(logits: Tensor, centre: bool) -> Tensor:
    """Scales every column to length 1, or to 0 if it has no direction; N K."""
    y = logits if logits.dtype == torch.float64 else logits.float()
    full = torch.linalg.vector_norm(y, dim=0)
    if centre:
        y = y - y.mean(0)
    length = torch.linalg.vector_norm(y, dim=0)
    # Centring a constant column leaves its rounding error, which is noise in proportion to the constant.
    has_one = length > _EPS * (1 + full)
    return torch.where(has_one, y / length.clamp_min(_EPS), 0)


def doubts(twins: Twins, batch: int, classes: int, *, processes: int = 1) -> str | None:
    """Explains in one sentence that the correlation loss cannot be low with such batches; None if it can.

    The rank of C is at most the batch size. If the views agree completely, its diagonal is 1, and then the squares of
    the other entries sum to at least K^2 / B - K (the Welch bound; with centring the rank is one less).

    Args:
        twins: settings; a weight of 0 gives None.
        batch: clips per step, over all processes.
        classes: K, number of classes.
        processes: number of processes that share the batch; B is the part of one process unless they gather.

    Raises:
        KinemaError: fewer than two clips are correlated.
    """
    if twins.weight == 0:
        return None
    together = batch if twins.gather else batch // processes
    if together < 2:
        shared = f", so that each of {processes} processes has {together}" if processes > 1 else ""
        more = ", or set twins.gather" if processes > 1 and batch > 1 else ""
        raise KinemaError(
            f"batch is {batch}{shared}: Twins Training correlates over the clips of a batch; give at least "
            f"{2 if twins.gather else 2 * processes}{more}"
        )
    floor = twins.beta * (classes**2 / (together - twins.centre) - classes)
    if floor <= 0:
        return None
    fix = ", and so does twins.gather" if processes > 1 and not twins.gather else ""
    return (
        f"Twins Training correlates {classes} classes over only {together} clips: even if both views agree, its loss "
        f"stays above {floor:.3g} ({twins.weight * floor:.3g} after its weight); larger batches lower this{fix}"
    )


def _check_batch(batch: int) -> None:
    if batch < 2:
        raise KinemaError(f"Twins Training correlates over a batch, and this one has {batch} clip(s): give at least 2")


def gather_logits(x: Tensor) -> Tensor:
    """Gathers the rows of all processes, in the order of their ranks, with gradients; with one process it returns `x`.

    Every process must call it, and call backward, the same number of times; the numbers of rows may differ. The
    gradient of `x` is the sum of the gradients from all processes. After the averaging by DistributedDataParallel, a
    loss of the gathered rows therefore counts as it would in one process.

    Args:
        x: `N ...`; N may differ between processes, the other sizes must be equal.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return x
    return _Gather.apply(x)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        own = torch.tensor([len(x)], device=x.device)
        counts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(counts, own)
        rows = [int(n) for n in counts]
        padded = x.new_zeros(max(rows), *x.shape[1:])
        padded[: len(x)] = x
        parts = [torch.empty_like(padded) for _ in rows]
        dist.all_gather(parts, padded)
        ctx.begin = sum(rows[: dist.get_rank()])
        ctx.rows = len(x)
        return torch.cat([part[:n] for part, n in zip(parts, rows, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.begin : ctx.begin + ctx.rows]
