"""Rules by which names and 2-D kernels of another release become those here."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

# The pattern of a whole name, and what it may be called here, likeliest first, as templates of `re.Match.expand`.
Rule = tuple[str, ...]


def places(rules: Iterable[Rule], name: str) -> list[str]:
    """What the first rule whose pattern is the whole name makes of it; without the prefix `module.`, none is itself."""
    name = name.removeprefix("module.")
    for pattern, *targets in rules:
        found = re.fullmatch(pattern, name)
        if found:
            return [found.expand(target) for target in targets]
    return [name]


def inflate(name: str, tensor: Tensor, shape: torch.Size) -> tuple[Tensor, str] | None:
    """A 2-D kernel repeated over the frames of a 3-D one and divided by their number, or None.

    A clip of equal frames then gives inside what the 2-D network gives for the frame.

    Args:
        name: of the file.
        tensor: O I K K.
        shape: O I T K K.

    Returns:
        The 3-D kernel and what was done, or None where the tensor is to be taken as it is.
    """
    if tensor.ndim != 4 or len(shape) != 5 or (*shape[:2], *shape[3:]) != tuple(tensor.shape):
        return None
    frames = shape[2]
    inflated = (tensor / frames).unsqueeze(2).expand(shape).contiguous()
    return inflated, f"inflated from 2-D to {frames} frame{'s' if frames > 1 else ''}"
