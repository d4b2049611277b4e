"""Names of another release of 3-D ResNeXt: 3D-ResNets-PyTorch. Names only, no tensors."""

from __future__ import annotations

from kinema.models.resnext3d import ResNeXt3D
from kinema.weights.names.family import Names, register_names
from kinema.weights.names.formats import File, Format, Values, always
from kinema.weights.names.rules import Rule, places

_RULES: tuple[Rule, ...] = (
    (r"conv1\.weight", r"stem.conv.weight"),
    (r"bn1\.(.+)", r"stem.bn.\1"),
    (r"fc\.(.+)", r"classifier.\1"),
)
# Values of the branch CVPR2018, which subtracts the mean of Kinetics and does not divide.
_CLIP = {"mean": (0.450097, 0.422492, 0.390098), "std": (1 / 255,) * 3, "short_side": 112, "crop": 112, "stride": 1}
FORMATS = (
    Format(
        "3D-ResNets-PyTorch", r"conv1\.weight", "kenshohara/3D-ResNets-PyTorch models/resnext.py", clip=always(**_CLIP)
    ),
)


def structure(file: File) -> Values:
    """Returns the groups of the 3x3x3 convolutions, from their shapes."""
    shape = file.places.get("layer1.0.conv2.weight", ())
    return {"groups": shape[0] // shape[1]} if len(shape) == 5 and shape[0] % shape[1] == 0 else {}


def candidates(name: str) -> list[str]:
    """Returns the name in a network of `resnext3d` for a name of 3D-ResNets-PyTorch.

    The blocks have the same names; the prefix `module.` is dropped.
    """
    return places(_RULES, name)


register_names(ResNeXt3D, Names(candidates, formats=FORMATS, structure=structure))
