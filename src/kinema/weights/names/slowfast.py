"""Names of other releases of SlowFast: PySlowFast, PyTorchVideo, mmaction2, gluon-cv's PyTorch part, Caffe2's blobs."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from kinema.models.i3d_blocks import LAYERS
from kinema.models.slowfast import BETA, SlowFast
from kinema.weights.names import i3d
from kinema.weights.names.family import Names, register_names
from kinema.weights.names.formats import GREY, IMAGENET, File, Format, Values, always
from kinema.weights.names.i3d import Rules, translate

# Layers between the pathways.
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
    (r"blocks\.6\.proj\.(.+)", "classifier.{1}"),  # PyTorchVideo counts the concatenation as a block
)

# Name in one pathway -> pathway, and the name in a network with only this pathway, which `names.i3d` knows.
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


def structure(file: File) -> Values:
    """Returns options that follow from the names and shapes of any file.

    Args:
        file: a file of any format, including this library's.
    """
    found: Values = {}
    fusion = file.places.get("layer1.fuse.conv.weight")
    if fusion and len(fusion) == 5:
        found["fusion_taps"] = fusion[2]
        found["fusion_norm"] = any(".fuse.bn." in name for name in file.places)
    blocks = [file.places.get(f"layer3.fast.{j}.conv1.weight", ()) for j in range(LAYERS[file.preset["depth"]][2])]
    if all(len(shape) == 5 for shape in blocks):
        found["temporal_blocks"] = sum(shape[2] > 1 for shape in blocks)
    return found


def _usual(file: File) -> Values:
    """Files state no stride: the published 4x16 fuse 5 frames and skip 8, as do all files of mmaction2 that fuse 5."""
    fused = structure(file).get("fusion_taps")
    few = fused == 5 and (file.preset["depth"] == 50 or file.has(r"backbone\."))
    return {"alpha": 8 if few else 4}


_SPREAD = always(slow_frames="spread")
_STRIDED = always(slow_frames="strided")
_PACK = "facebookresearch/SlowFast slowfast/datasets/utils.py (pack_pathway_output), models/video_model_builder.py"
FORMATS = (
    Format("PySlowFast", r"s1\.pathway1_", _PACK, _SPREAD, _usual, always(**GREY)),
    Format("Caffe2", r"t_conv1_w", _PACK, _SPREAD, _usual, always(**GREY)),
    Format(
        "PyTorchVideo", r"blocks\.0\.multipathway_",
        "facebookresearch/pytorchvideo pytorchvideo/models/slowfast.py, tutorials (PackPathway)",
        _SPREAD, _usual, always(**GREY), compared=True,
    ),
    Format(
        "mmaction2", r"backbone\.slow_path\.",
        "open-mmlab/mmaction2 mmaction/models/backbones/resnet3d_slowfast.py (forward)",
        _STRIDED, _usual, always(**IMAGENET),
    ),
    Format(
        "gluon-cv", r"lateral_p1\.", "dmlc/gluon-cv gluoncv/torch/model_zoo/action_recognition/slowfast.py (forward)",
        _STRIDED, _usual, always(**IMAGENET),
    ),
)  # fmt: skip


def candidates(name: str) -> list[str]:
    """Returns the names in a network of `slowfast` that may correspond to a name of another release, likeliest first.

    A name that no release has is returned unchanged; the prefix `module.` is dropped.
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
    """Reorders mmaction2's classifier, in which the features of the fast pathway come first; here the slow ones do.

    Args:
        name: name in the file.
        tensor: tensor in the file.
        shape: required shape.

    Returns:
        The classifier's weight in the order used here and what was done, or None for all other tensors.
    """
    if name.removeprefix("module.") != "cls_head.fc_cls.weight" or tensor.shape != shape:
        return None
    fast = tensor.shape[1] // (BETA + 1)
    return torch.cat([tensor[:, fast:], tensor[:, :fast]], 1), "with the slow pathway's columns moved to the front"


register_names(SlowFast, Names(candidates, i3d.NEW, convert=convert, formats=FORMATS, structure=structure))
