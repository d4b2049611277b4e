"""Names of other releases of X3D: PyTorchVideo and SlowFast. Names only, no tensors."""

from __future__ import annotations

import re

from kinema.models.x3d import X3D
from kinema.weights.names.family import Names, register_names
from kinema.weights.names.formats import GREY, File, Format, Values, always
from kinema.weights.names.rules import Rule, places

# Pattern of a whole name -> name here. Stages are numbered from 1 here.
_RULES: tuple[Rule, ...] = (
    # PyTorchVideo; the names of the two kernels in its stem are swapped.
    (r"blocks\.0\.conv\.conv_t\.weight", r"stem.spatial.weight"),
    (r"blocks\.0\.conv\.conv_xy\.weight", r"stem.temporal.weight"),
    (r"blocks\.0\.norm\.(.+)", r"stem.norm.\1"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch1_conv\.(.+)", r"layer\1.\2.shortcut.0.\3"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch1_norm\.(.+)", r"layer\1.\2.shortcut.1.\3"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.norm_b\.0\.(.+)", r"layer\1.\2.norm_b.\3"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.norm_b\.1\.block\.0\.(.+)", r"layer\1.\2.se.reduce.\3"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.norm_b\.1\.block\.2\.(.+)", r"layer\1.\2.se.restore.\3"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.(conv_[abc]|norm_[ac])\.(.+)", r"layer\1.\2.\3.\4"),
    (r"blocks\.5\.pool\.pre_conv\.(.+)", r"head.conv.\1"),
    (r"blocks\.5\.pool\.pre_norm\.(.+)", r"head.norm.\1"),
    (r"blocks\.5\.pool\.post_conv\.(.+)", r"head.expand.\1"),
    (r"blocks\.5\.proj\.(.+)", r"classifier.\1"),
    # SlowFast.
    (r"s1\.pathway0_stem\.conv_xy\.weight", r"stem.spatial.weight"),
    (r"s1\.pathway0_stem\.conv\.weight", r"stem.temporal.weight"),
    (r"s1\.pathway0_stem\.bn\.(.+)", r"stem.norm.\1"),
    (r"s([2-5])\.pathway0_res(\d+)\.branch1\.(.+)", r"layer\1.\2.shortcut.0.\3"),
    (r"s([2-5])\.pathway0_res(\d+)\.branch1_bn\.(.+)", r"layer\1.\2.shortcut.1.\3"),
    (r"s([2-5])\.pathway0_res(\d+)\.branch2\.([abc])\.(.+)", r"layer\1.\2.conv_\3.\4"),
    (r"s([2-5])\.pathway0_res(\d+)\.branch2\.([abc])_bn\.(.+)", r"layer\1.\2.norm_\3.\4"),
    (r"s([2-5])\.pathway0_res(\d+)\.branch2\.se\.fc1\.(.+)", r"layer\1.\2.se.reduce.\3"),
    (r"s([2-5])\.pathway0_res(\d+)\.branch2\.se\.fc2\.(.+)", r"layer\1.\2.se.restore.\3"),
    (r"head\.conv_5\.(.+)", r"head.conv.\1"),
    (r"head\.conv_5_bn\.(.+)", r"head.norm.\1"),
    (r"head\.lin_5\.(.+)", r"head.expand.\1"),
    (r"head\.projection\.(.+)", r"classifier.\1"),
)
_FIRST_SHORTCUT_NORM = "layer1.0.shortcut.1."
FORMATS = (
    Format(
        "PyTorchVideo", r"blocks\.1\.res_blocks\.", "facebookresearch/pytorchvideo pytorchvideo/models/x3d.py",
        clip=always(**GREY), compared=True,
    ),
    Format(
        "PySlowFast", r"s2\.pathway0_res0\.", "facebookresearch/SlowFast slowfast/models/video_model_builder.py (X3D)",
        clip=always(**GREY),
    ),
)  # fmt: skip


def structure(file: File) -> Values:
    """Returns options that follow from the names of any file: PySlowFast's first shortcut has a BatchNorm.

    Args:
        file: a file of any format, including this library's.
    """
    if not any(name.startswith("layer1.0.shortcut.0.") for name in file.places):
        return {}
    return {"shortcut_norm": any(name.startswith(_FIRST_SHORTCUT_NORM) for name in file.places)}


def candidates(name: str) -> list[str]:
    """Returns the names in a network of `x3d` that may correspond to a name of another release, likeliest first.

    A name that no release has is returned unchanged; the prefix `module.` is dropped.
    """
    (place,) = places(_RULES, name)
    if re.match(r"(module\.)?s\d", name):  # SlowFast counts the stem as its first stage
        place = re.sub(r"^layer(\d)", lambda stage: f"layer{int(stage[1]) - 1}", place)
    return [place]


register_names(X3D, Names(candidates, formats=FORMATS, structure=structure))
