"""Names of other releases of SlowFast: PySlowFast, PyTorchVideo, mmaction2, gluon-cv's PyTorch part, Caffe2's blobs."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from kinema.models.slowfast import BETA
from kinema.weights.names import i3d
from kinema.weights.names.i3d import Rules, translate

# What stands between the pathways.
_FUSIONS: Rules = (
    (r"s([1-4])_fuse\.conv_f2s\.(.+)", "layer{1}.fuse.conv.{2}"),  # PySlowFast
    (r"s([1-4])_fuse\.bn\.(.+)", "layer{1}.fuse.bn.{2}"),
    (r"blocks\.([0-3])\.multipathway_fusion\.conv_fast_to_slow\.(.+)", "layer{1+1}.fuse.conv.{2}"),  # PyTorchVideo
    (r"blocks\.([0-3])\.multipathway_fusion\.norm\.(.+)", "layer{1+1}.fuse.bn.{2}"),
    (r"backbone\.slow_path\.conv1_lateral\.(conv|bn)\.(.+)", "layer1.fuse.{1}.{2}"),  # mmaction2
    (r"backbone\.slow_path\.layer([1-3])_lateral\.(conv|bn)\.(.+)", "layer{1+1}.fuse.{2}.{3}"),
    (r"lateral_(?:p|res)([1-4])\.0\.(.+)", "layer{1}.fuse.conv.{2}"),  # gluon-cv
    (r"lateral_(?:p|res)([1-4])\.1\.(.+)", "layer{1}.fuse.bn.{2}"),
    (r"t_pool1_subsample_w", "layer1.fuse.conv.weight"),  # Caffe2
    (r"t_pool1_subsample_bn_(s|b|rm|riv)", "layer1.fuse.bn.{1:blob}"),
    (r"t_res([2-4])_\d+_branch2c_bn_subsample_w", "layer{1}.fuse.conv.weight"),
    (r"t_res([2-4])_\d+_branch2c_bn_subsample_bn_(s|b|rm|riv)", "layer{1}.fuse.bn.{2:blob}"),
    (r"blocks\.6\.proj\.(.+)", "classifier.{1}"),  # PyTorchVideo's concatenation counts as a block
)

# Name in one pathway -> pathway, and the name in a network that has but this one, which `names.i3d` knows.
_PATHWAYS: Rules = (
    (r"(s[1-5]\.)pathway([01])(_.+)", "{2} {1}pathway0{3}"),
    (r"(blocks\.\d\.)multipathway_blocks\.([01])\.(.+)", "{2} {1}{3}"),
    (r"backbone\.(slow|fast)_path\.(.+)", "{1} backbone.{2}"),
    (r"(slow|fast)_((?:conv1|bn1)\..+)", "{1} {2}"),  # gluon-cv, whose first stage is res2
    (r"(slow|fast)_res([2-5])\.(.+)", "{1} layer{2-1}.{3}"),
    (r"t_(conv1_w|res.+)", "1 {1}"),
    (r"(conv1_w|res_conv1_.+|res\d_\d+_branch.+|nonlocal_conv.+)", "0 {1}"),
)
_PATH = {"0": "slow", "1": "fast"}


def candidates(name: str) -> list[str]:
    """The names in a network of `slowfast` that may stand for a name of another release, likeliest first.

    A name that no release has stands for itself; the prefix `module.` is dropped.
    """
    name = name.removeprefix("module.")
    fusion, pathway = translate(_FUSIONS, name), translate(_PATHWAYS, name)
    if fusion:
        return [fusion]
    if pathway:
        path, inside = pathway.split(" ")
        (place,) = i3d.candidates(inside)
        return [re.sub(r"^(stem|layer\d)\.", rf"\1.{_PATH.get(path, path)}.", place)]
    known = i3d.candidates(name)
    return known if known[0].startswith("classifier.") else [name]


def convert(name: str, tensor: Tensor, shape: torch.Size) -> tuple[Tensor, str] | None:
    """mmaction2's classifier has the features of the fast pathway first, here those of the slow one are.

    Args:
        name: of the file.
        tensor: as it stands there.
        shape: wanted.

    Returns:
        The classifier's weight in the order of this library and what was done, or None for everything else.
    """
    if name.removeprefix("module.") != "cls_head.fc_cls.weight" or tensor.shape != shape:
        return None
    fast = tensor.shape[1] // (BETA + 1)
    return torch.cat([tensor[:, fast:], tensor[:, :fast]], 1), "with the slow pathway's columns moved to the front"


def remarks(own: Iterable[str], source: Iterable[str]) -> list[str]:
    """What a person should know about a file beyond the list of its names.

    Args:
        own: names of the network.
        source: names of the file.
    """
    names = {name.removeprefix("module.") for name in source}
    normalised = any(".fuse.bn." in target for name in names for target in candidates(name))
    found = []
    if any(name.startswith("backbone.slow_path.") for name in names):
        if not normalised and any(".fuse.bn." in name for name in own):
            found.append("the file has no BatchNorm between the pathways: build with fusion_norm=False")
    elif any(name.startswith(("s1.pathway1_", "blocks.0.multipathway_", "t_conv1_")) for name in names):
        found.append(
            "the slow pathway of this release saw frames spread from the first to the last: "
            "only a network built with slow_frames='spread' computes what theirs did"
        )
    return found
