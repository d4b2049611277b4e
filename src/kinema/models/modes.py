"""Temporary evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_evaluation(model: nn.Module) -> Iterator[None]:
    """Sets a network to evaluation mode in the block, and every module back to its own mode after it.

    Modules may be in different modes, such as frozen BatchNorm within a network that is trained.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        if any(mode for _, mode in modes):
            model.eval()
        yield
    finally:
        if model.training != modes[0][1]:
            model.train(modes[0][1])  # also runs what a network's own train() does besides
        for module, mode in modes:
            module.training = mode
