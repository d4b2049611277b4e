"""Names of another release of the Inception-v1 I3D: pytorch-i3d. Names only, no tensors."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from kinema.models.inception3d import InceptionI3D
from kinema.weights.names.family import Names, register_names
from kinema.weights.names.formats import HALF, Format, always

_PARTS = {"conv3d": "conv", "bn": "norm"}
_UNITS = {"Conv3d_1a_7x7": "stem.conv", "Conv3d_2b_1x1": "layer1.reduce", "Conv3d_2c_3x3": "layer1.conv"}
_BRANCHES = {
    "b0": "branch0",
    "b1a": "branch1.0",
    "b1b": "branch1.1",
    "b2a": "branch2.0",
    "b2b": "branch2.1",
    "b3b": "branch3.1",
}
_UNIT = re.compile(r"(Conv3d_\w+)\.(conv3d|bn)\.(.+)")
_MIXED = re.compile(r"Mixed_([345])([b-f])\.(b\d[ab]?)\.(conv3d|bn)\.(.+)")
FORMATS = (
    Format("pytorch-i3d", r"Conv3d_1a_7x7\.conv3d\.", "piergiaj/pytorch-i3d pytorch_i3d.py", clip=always(**HALF)),
)
_LOGITS = re.compile(r"logits\.conv3d\.(weight|bias)")


def candidates(name: str) -> list[str]:
    """Returns the name in a network of `i3d_v1` for a name of pytorch-i3d.

    A name that pytorch-i3d does not have is returned unchanged; the prefix `module.` is dropped.
    """
    name = name.removeprefix("module.")
    if (found := _UNIT.fullmatch(name)) and found[1] in _UNITS:
        return [f"{_UNITS[found[1]]}.{_PARTS[found[2]]}.{found[3]}"]
    if (found := _MIXED.fullmatch(name)) and found[3] in _BRANCHES:
        return [f"layer{int(found[1]) - 1}.mixed_{found[2]}.{_BRANCHES[found[3]]}.{_PARTS[found[4]]}.{found[5]}"]
    if found := _LOGITS.fullmatch(name):
        return [f"classifier.{found[1]}"]
    return [name]


def convert(name: str, tensor: Tensor, shape: torch.Size) -> tuple[Tensor, str] | None:
    """Converts the last layer of pytorch-i3d, a 1x1x1 convolution, to the linear layer used here.

    Args:
        name: name in the file.
        tensor: tensor in the file.
        shape: required shape.

    Returns:
        Its weight without the three dimensions of size 1 and what was done, or None for all other tensors.
    """
    if tensor.ndim != 5 or len(shape) != 2 or tensor.shape[2:].numel() != 1:
        return None
    return tensor.flatten(1), "converted from a 1x1x1 convolution to a linear layer"


register_names(InceptionI3D, Names(candidates, convert=convert, formats=FORMATS))
