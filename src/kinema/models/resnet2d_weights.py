"""Names of other releases of 2-D ResNets: torchvision's. Names only, no tensors."""

from __future__ import annotations

import re

# Parts for which a 2-D network has no weights; they keep the values with which they were built.
NEW = re.compile(r"\.(t\.(weight|fixed)|cmm\..*|mix\.weight)$")


def candidates(name: str) -> list[str]:
    """The names in a network of `resnet2d` that may stand for a name of torchvision's, likeliest first.

    A 3x3 convolution goes where the network has it: plain, in CSTM, or beside CMM. The prefix `module.` is dropped.
    """
    name = name.removeprefix("module.")
    if name.startswith(("conv1.", "bn1.")):
        name = "stem." + name.replace("1", "", 1)
    name = re.sub(r"^fc\.", "classifier.", name)
    found = re.fullmatch(r"(layer\d\.\d+\.conv\d)\.weight", name)
    if not found:
        return [name]
    return [f"{found.group(1)}{inside}.weight" for inside in ("", ".conv", ".cstm.conv", ".cstm")]
