"""Selects the convolutions that a network initialises; operators initialise their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from kinema.ops.conv import Conv2d, Conv3d

PLAIN = (Conv2d, Conv3d)


def plain_convolutions(network: nn.Module) -> Iterator[Conv2d | Conv3d]:
    """Yields the plain convolutions of a network's own layers, in the order of `modules()`.

    These are the `kinema.ops.conv` layers that the families create. All other modules keep the weights that they were
    created with, so that operators need not be listed anywhere:

    - a module whose class is defined outside `kinema.models` and outside the file of the network is an operator;
      modules inside it are not visited;
    - a module with its own `reset_parameters`, PyTorch's name for a module that initialises itself, and a network
      inside the network;
    - the bare convolutions of `torch.nn`.

    Args:
        network: its class shows which file is its own.

    Yields:
        Instances of `Conv2d` and `Conv3d` and of their subclasses in `kinema.models`.
    """
    files = {kind.__module__ for kind in type(network).__mro__}
    seen: set[nn.Module] = {network}

    def walk(module: nn.Module) -> Iterator[Conv2d | Conv3d]:
        for child in module.children():
            if child in seen:
                continue
            seen.add(child)
            if not _is_layer(child, files):
                continue
            if isinstance(child, PLAIN):
                yield child
            else:
                yield from walk(child)

    return walk(network)


def _is_layer(module: nn.Module, files: set[str]) -> bool:
    """True if a module is a PyTorch container, a plain convolution, or a layer that the network's family defines."""
    kind: Any = type(module)
    if isinstance(module, PLAIN):
        if getattr(kind, "reset_parameters", None) is not _ConvNd.reset_parameters:
            return False
    elif hasattr(kind, "reset_parameters") or hasattr(kind, "initialise"):
        return False
    places = ("kinema.models.", "kinema.ops." if isinstance(module, PLAIN) else "torch.nn.")
    return kind.__module__.startswith(places) or kind.__module__ in files
