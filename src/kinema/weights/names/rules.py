"""Rules that convert names and 2-D kernels of another release to those here."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

# Pattern of a whole name, and its possible names here, likeliest first, as templates of `re.Match.expand`.
Rule = tuple[str, ...]


def places(rules: Iterable[Rule], name: str) -> list[str]:
    """Applies the first rule that matches the whole name, or returns it unchanged; drops the prefix `module.`."""
    name = name.removeprefix("module.")
    for pattern, *targets in rules:
        found = re.fullmatch(pattern, name)
        if found:
            return [found.expand(target) for target in targets]
    return [name]


def inflate(name: str, tensor: Tensor, shape: torch.Size) -> tuple[Tensor, str] | None:
    """Repeats a 2-D kernel over the frames of a 3-D one and divides it by their number, or returns None.

    In the interior of a clip of equal frames, the result is that of the 2-D network for the frame.

    Args:
        name: name in the file.
        tensor: O I K K.
        shape: O I T K K.

    Returns:
        The 3-D kernel and what was done, or None if the tensor is used unchanged.
    """
    if tensor.ndim != 4 or len(shape) != 5 or (*shape[:2], *shape[3:]) != tuple(tensor.shape):
        return None
    frames = shape[2]
    inflated = (tensor / frames).unsqueeze(2).expand(shape).contiguous()
    return inflated, f"inflated from 2-D to {frames} frame{'s' if frames > 1 else ''}"
