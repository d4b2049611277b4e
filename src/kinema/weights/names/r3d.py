"""Names of other releases of 3-D ResNets: the SRTG authors' code, VMZ, 3D-ResNets-PyTorch, PyTorchVideo."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kinema.models.r3d import ResNet3D
from kinema.models.r3d_blocks import Middle, middle_channels
from kinema.weights.names.family import Names, register_names
from kinema.weights.names.formats import GREY, File, Format, Values, always
from kinema.weights.names.rules import Rule, places

# Parts for which a plain network has no weights; they keep their initial values.
NEW = re.compile(r"\.srtg\.")

# Pattern of a whole name -> possible names here. If a (2+1)D network has both names, its own comes first.
_RULES: tuple[Rule, ...] = (
    (r"fc\.(.+)", r"classifier.\1"),
    # SRTG: convolution, BatchNorm and ReLU of a step are one Sequential; composed convolutions are another inside it.
    (r"stem\.0\.weight", r"stem.conv.weight", r"stem.conv.spatial.weight"),
    (r"stem\.1\.(.+)", r"stem.conv.bn.\1", r"stem.bn.\1"),
    (r"stem\.3\.weight", r"stem.conv.temporal.weight"),
    (r"stem\.4\.(.+)", r"stem.bn.\1"),
    (r"(layer\d\.\d+\.conv\d)\.0\.0\.weight", r"\1.weight", r"\1.spatial.weight"),
    (r"(layer\d\.\d+\.conv\d)\.0\.1\.(.+)", r"\1.bn.\2"),
    (r"(layer\d\.\d+\.conv\d)\.0\.3\.weight", r"\1.temporal.weight"),
    (r"(layer\d\.\d+\.conv\d)\.0\.weight", r"\1.weight"),
    (r"(layer\d\.\d+)\.conv(\d)\.1\.(.+)", r"\1.bn\2.\3"),
    (r"(layer\d\.\d+)\.sar\.lstm\.(.+)", r"\1.srtg.recurrence.cell.\2"),
    # 3D-ResNets-PyTorch: flat names, as in 2-D ResNets; _s and _t are the spatial and temporal factors.
    (r"conv1\.weight", r"stem.conv.weight"),
    (r"bn1\.(.+)", r"stem.bn.\1"),
    (r"conv1_s\.weight", r"stem.conv.spatial.weight"),
    (r"bn1_s\.(.+)", r"stem.conv.bn.\1"),
    (r"conv1_t\.weight", r"stem.conv.temporal.weight"),
    (r"bn1_t\.(.+)", r"stem.bn.\1"),
    (r"(layer\d\.\d+\.conv\d)_s\.weight", r"\1.spatial.weight"),
    (r"(layer\d\.\d+)\.bn(\d)_s\.(.+)", r"\1.conv\2.bn.\3"),
    (r"(layer\d\.\d+\.conv\d)_t\.weight", r"\1.temporal.weight"),
    (r"(layer\d\.\d+\.bn\d)_t\.(.+)", r"\1.\2"),
    # PyTorchVideo's R(2+1)D, whose factors have the opposite order.
    (r"blocks\.0\.conv\.weight", r"stem.conv.weight"),
    (r"blocks\.0\.norm\.(.+)", r"stem.bn.\1"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch1_conv\.(.+)", r"layer\1.\2.downsample.0.\3"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch1_norm\.(.+)", r"layer\1.\2.downsample.1.\3"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.conv_a\.(.+)", r"layer\1.\2.conv1.\3"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.norm_a\.(.+)", r"layer\1.\2.bn1.\3"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.conv_b\.conv_t\.(.+)", r"layer\1.\2.conv2.temporal.\3"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.conv_b\.norm\.(.+)", r"layer\1.\2.conv2.bn.\3"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.conv_b\.conv_xy\.(.+)", r"layer\1.\2.conv2.spatial.\3"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.norm_b\.(.+)", r"layer\1.\2.bn2.\3"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.conv_c\.(.+)", r"layer\1.\2.conv3.\3"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.norm_c\.(.+)", r"layer\1.\2.bn3.\3"),
    (r"blocks\.5\.proj\.(.+)", r"classifier.\1"),
)


def candidates(name: str) -> list[str]:
    """Returns the names in a network of `r3d` that may correspond to a name of another release, likeliest first.

    A name that no release has is returned unchanged; the prefix `module.` is dropped.
    """
    return places(_RULES, name)


def structure(file: File) -> Values:
    """Returns options that follow from the names and shapes of any file.

    Args:
        file: a file of any format, including this library's.
    """
    found: Values = {}
    places = file.places
    stem = places.get("stem.conv.temporal.weight") or places.get("stem.conv.weight")
    if stem and len(stem) == 5:
        found["stem_frames"] = stem[2]
    last, first = places.get("layer1.0.conv3.weight"), places.get("layer1.0.conv1.weight")
    widening = file.given.get("widening", file.preset.get("widening", 1))
    if last and first and isinstance(widening, int) and last[0] * widening % first[0] == 0:
        found["expansion"] = last[0] * widening // first[0]
    if "layer2.0.conv2.weight" in places or "layer2.0.conv2.temporal.weight" in places:
        found["shortcut"] = "B" if any(name.startswith("layer2.0.downsample.") for name in places) else "A"
    if middle := _middle(file):
        found["middle"] = middle
    return found


def _middle(file: File) -> Middle | None:
    """Returns the rule for the channels between the factors of (2+1)D; None if no rule gives those of the file."""
    spatial = file.places.get("layer2.0.conv2.spatial.weight")
    temporal = file.places.get("layer2.0.conv2.temporal.weight")
    if not spatial or not temporal:
        return None
    if len({*spatial[:2], *temporal[:2]}) == 1:
        return "inner"
    planes = temporal[0]
    if spatial[0] != middle_channels(planes, planes):
        return "block"
    stem = file.places.get("stem.conv.temporal.weight", ())
    own = len(stem) == 5 and stem[1] == middle_channels(3, stem[0], stem[2], 7)
    return "convolution" if own else "vmz"


def _torchvisions(file: File) -> Values:
    """Distinguishes the SRTG authors' code and VMZ, both with torchvision's names, by the channels between factors.

    The recurrent weights of SRTG belong to blocks that multiply by the states and have no gate.
    """
    recurrent = any(NEW.search(name) for name in file.places)
    product: Values = {"gate": "none", "fusion": "mul"} if recurrent else {}
    return {"max_pool": False} | product | ({"eps": 1e-3} if _middle(file) == "vmz" else {})


def _other_pool(file: File) -> str | None:
    if _middle(file) == "vmz" and file.preset["depth"] >= 50:
        return "the stem of VMZ's R(2+1)D-152 pools only space, for which this network has no option"
    return None


_HARA = {"mean": (0.4345, 0.4051, 0.3775), "std": (0.2768, 0.2713, 0.2737), "short_side": 112, "crop": 112, "stride": 1}
FORMATS = (
    Format(
        "SRTG or VMZ", r"stem\.0\.weight",
        "alexandrosstergiou/Squeeze-and-Recursion-Temporal-Gates; facebookresearch/VMZ pt/vmz/models/r2plus1d.py",
        _torchvisions, refused=_other_pool,
    ),
    Format(
        "PyTorchVideo", r"blocks\.1\.res_blocks\.", "facebookresearch/pytorchvideo pytorchvideo/models/r2plus1d.py",
        always(
            max_pool=False, middle="inner", order="time_first", time_strides=[1, 1, 2, 2], space_strides=[2, 2, 2, 2]
        ),
        clip=always(**GREY, stride=4, short_side=256), compared=True,
    ),
    Format(
        "3D-ResNets-PyTorch", r"(conv1|conv1_s)\.weight", "kenshohara/3D-ResNets-PyTorch models/resnet.py",
        always(max_pool=True), clip=always(**_HARA),
    ),
)  # fmt: skip


def remarks(own: Iterable[str], source: Iterable[str]) -> list[str]:
    """Returns remarks about a file beyond the list of its names.

    Args:
        own: names of the network.
        source: names of the file.
    """
    names = {name.removeprefix("module.") for name in source}
    targets = {target for name in names for target in candidates(name)}
    if any(NEW.search(name) for name in own) and not any(NEW.search(name) for name in targets):
        return [
            "the file has no recurrent weights (no name with sar.lstm): it contains a plain network, as the SRTG "
            "authors' code builds for every srtg_ name, and the recurrent cells keep their random initial weights"
        ]
    return []


register_names(ResNet3D, Names(candidates, NEW, remarks, formats=FORMATS, structure=structure))
