"""Gradient checkpointing: activations of blocks are recomputed in the backward pass instead of being stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class Stack(nn.Sequential):
    """`nn.Sequential` that can store only the inputs of its modules and run each again in the backward pass.

    Outputs and gradients are the same; BatchNorm updates its running statistics only once.
    `VideoModel.set_grad_checkpointing` switches it.

    Attributes:
        grad_checkpointing: True if the modules are run again.
    """

    grad_checkpointing = False

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        """Runs the modules in order.

        Args:
            x: input of the first module.
            *args: further arguments for every module.
        """
        for block in self:
            x = self.run(block, x, *args)
        return x

    def run(self, block: nn.Module, x: Tensor, *args: Any) -> Tensor:
        """Runs one of the modules.

        Args:
            block: the module.
            x: its input.
            *args: further arguments of the module.
        """
        if self.grad_checkpointing and torch.is_grad_enabled():
            found: Tensor = checkpoint(block, x, *args, use_reentrant=False, context_fn=partial(_contexts, block))
        else:
            found = block(x, *args)
        return found


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _statistics_kept(block)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Normalises as before, but does not update the running statistics with the same batch a second time."""
    norms = [m for m in block.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    own = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    for norm, buffers in zip(norms, own, strict=True):
        for name, buffer in buffers.items():
            setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, buffers in zip(norms, own, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
