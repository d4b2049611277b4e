"""Names of another release of 3-D ResNeXt: 3D-ResNets-PyTorch. Names only, no tensors."""

from __future__ import annotations

import re

_RULES = [
    (re.compile(pattern), target)
    for pattern, target in (
        (r"conv1\.weight", r"stem.conv.weight"),
        (r"bn1\.(.+)", r"stem.bn.\1"),
        (r"fc\.(.+)", r"classifier.\1"),
    )
]


def candidates(name: str) -> list[str]:
    """The name in a network of `resnext3d` that stands for a name of 3D-ResNets-PyTorch.

    The blocks have the same names; the prefix `module.` is dropped.
    """
    name = name.removeprefix("module.")
    for pattern, target in _RULES:
        found = pattern.fullmatch(name)
        if found:
            return [found.expand(target)]
    return [name]
