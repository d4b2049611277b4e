"""BatchNorm over groups of a large batch, so that its statistics do not change with the size of the batch.

Multigrid training (Wu et al., 2020, the thesis's reference 292) takes up to 32 times the clips of the full shape.
Normalised all together they would meet other statistics than the full shape does, and the tests.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kinema.errors import KinemaError


class SubBatches:
    """Makes every BatchNorm of a network normalise each `size` clips by themselves while it trains.

    A batch of 8B clips then gives what eight batches of B clips give, one after the other: outputs, gradients and the
    running statistics, which take up group after group with the module's momentum. For up to `size` clips, in
    evaluation and where a BatchNorm is frozen, it is the plain BatchNorm. Names in the state dict stay as they are.

    What enters a BatchNorm must be clip-major: `N ...`, or `(N T) ...` with the frames of a clip together.

    Args:
        model: the network; its BatchNorm1d, 2d and 3d modules change their class until `remove`.

    Attributes:
        remark: one sentence about what is left alone, or None.
    """

    def __init__(self, model: nn.Module) -> None:
        self.modules = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)]
        for module in self.modules:
            if isinstance(module, _Grouped):
                raise KinemaError("this network's BatchNorm is already divided into sub-batches: remove() those first")
        for module in self.modules:
            module.__class__ = _grouped(type(module))  # type: ignore[arg-type]  # classes are hashable
        self.set(0, 0)
        synced = sum(isinstance(m, nn.SyncBatchNorm) for m in model.modules())
        self.remark = (
            f"{synced} SyncBatchNorm modules normalise over the batches of all processes and are not divided into "
            "sub-batches"
            if synced
            else None
        )

    def set(self, clips: int, size: int) -> None:
        """Says how the next forward passes are divided.

        Args:
            clips: N of the next batch.
            size: clips of a group; 0 does not divide. A single clip at the end joins the group before it.
        """
        groups = group_sizes(clips, size) if size else []
        for module in self.modules:
            module.groups = groups  # type: ignore[assignment]

    def remove(self) -> None:
        """Gives every module its own class back."""
        for module in self.modules:
            module.__class__ = type(module).__bases__[1]
            del module.groups
        self.modules = []


def group_sizes(clips: int, size: int) -> list[int]:
    """Clips of each group: `size`, and fewer in the last one, but a last one of a single clip joins the one before."""
    groups = [size] * (clips // size)
    rest = clips % size
    if rest == 1 and groups:
        groups[-1] += 1
    elif rest:
        groups.append(rest)
    return groups


class _Grouped(_BatchNorm):
    """Comes before a BatchNorm in the order of its base classes."""

    groups: list[int]

    def forward(self, x: Tensor) -> Tensor:
        groups = self.groups
        if not self.training or len(groups) < 2:
            return super().forward(x)
        clips = sum(groups)
        if x.shape[0] % clips:
            raise KinemaError(
                f"sub-batches were set for {clips} clips, but a BatchNorm was given {x.shape[0]} rows: call set() with "
                "the clips of every batch before its forward pass"
            )
        rows = x.shape[0] // clips  # of a clip
        if rows * min(groups) * x.shape[2:].numel() < 2:
            return super().forward(x)  # groups of a single value a channel, which no BatchNorm can normalise
        return torch.cat([super(_Grouped, self).forward(part) for part in x.split([rows * n for n in groups])])


@cache
def _grouped(kind: type[Any]) -> type[Any]:
    return type(f"Grouped{kind.__name__}", (_Grouped, kind), {})
