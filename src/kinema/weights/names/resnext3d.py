"""Names of another release of 3-D ResNeXt: 3D-ResNets-PyTorch. Names only, no tensors."""

from __future__ import annotations

from kinema.weights.names.rules import Rule, places

_RULES: tuple[Rule, ...] = (
    (r"conv1\.weight", r"stem.conv.weight"),
    (r"bn1\.(.+)", r"stem.bn.\1"),
    (r"fc\.(.+)", r"classifier.\1"),
)


def candidates(name: str) -> list[str]:
    """The name in a network of `resnext3d` that stands for a name of 3D-ResNets-PyTorch.

    The blocks have the same names; the prefix `module.` is dropped.
    """
    return places(_RULES, name)
