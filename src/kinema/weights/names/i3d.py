"""Names of other releases of inflated ResNets, and 2-D weights converted to 3-D.

Supported are torchvision's 2-D ResNets, mmaction2, PySlowFast, PyTorchVideo, gluon-cv's PyTorch part and the blobs of
Caffe2. Caffe2's are released as pickles, which are not read here: save their arrays as safetensors with their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import partial

from kinema.models.i3d import InflatedResNet
from kinema.weights.names.family import Names, register_names
from kinema.weights.names.formats import GREY, IMAGENET, File, Format, Values, always
from kinema.weights.names.rules import inflate

# Non-local blocks have no effect at the start, so that weights of the plain network, also 2-D ones, can be loaded into
# a network with such blocks. mmaction2's blocks have no bias before their BatchNorm, which is the same as zeros.
NEW = re.compile(r"\.non_local\.(?!bn\.num_batches_tracked)")

_LETTERS = {
    "conv": {"a": "1", "b": "2", "c": "3"},
    "blob": {"w": "weight", "b": "bias", "s": "weight", "rm": "running_mean", "riv": "running_var"},
}
_NL = "theta|phi|g|out"

Rules = tuple[tuple[str, str], ...]

# Pattern of a whole name -> name here, see `translate`.
_RULES: Rules = (
    # torchvision; its stages have the same names as here.
    (r"conv1\.weight", "stem.conv.weight"),
    (r"bn1\.(.+)", "stem.bn.{1}"),
    (r"fc\.(.+)", "classifier.{1}"),
    # mmaction2.
    (r"backbone\.conv1\.conv\.weight", "stem.conv.weight"),
    (r"backbone\.conv1\.bn\.(.+)", "stem.bn.{1}"),
    (r"backbone\.(layer\d\.\d+)\.conv(\d)\.conv\.weight", "{1}.conv{2}.weight"),
    (r"backbone\.(layer\d\.\d+)\.conv(\d)\.bn\.(.+)", "{1}.bn{2}.{3}"),
    (r"backbone\.(layer\d\.\d+)\.downsample\.conv\.weight", "{1}.downsample.0.weight"),
    (r"backbone\.(layer\d\.\d+)\.downsample\.bn\.(.+)", "{1}.downsample.1.{2}"),
    (r"backbone\.(layer\d\.\d+)\.non_local_block\.(theta|phi|g)(?:\.0)?\.conv\.(.+)", "{1}.non_local.{2}.{3}"),
    (r"backbone\.(layer\d\.\d+)\.non_local_block\.conv_out\.conv\.(.+)", "{1}.non_local.out.{2}"),
    (r"backbone\.(layer\d\.\d+)\.non_local_block\.conv_out\.bn\.(.+)", "{1}.non_local.bn.{2}"),
    (r"cls_head\.fc_cls\.(.+)", "classifier.{1}"),
    # PySlowFast, which counts the stem as its first stage.
    (r"s1\.pathway0_stem\.(conv|bn)\.(.+)", "stem.{1}.{2}"),
    (r"s([2-5])\.pathway0_res(\d+)\.branch1\.weight", "layer{1-1}.{2}.downsample.0.weight"),
    (r"s([2-5])\.pathway0_res(\d+)\.branch1_bn\.(.+)", "layer{1-1}.{2}.downsample.1.{3}"),
    (r"s([2-5])\.pathway0_res(\d+)\.branch2\.([abc])\.weight", "layer{1-1}.{2}.conv{3:conv}.weight"),
    (r"s([2-5])\.pathway0_res(\d+)\.branch2\.([abc])_bn\.(.+)", "layer{1-1}.{2}.bn{3:conv}.{4}"),
    (rf"s([2-5])\.pathway0_nonlocal(\d+)\.conv_({_NL})\.(.+)", "layer{1-1}.{2}.non_local.{3}.{4}"),
    (r"s([2-5])\.pathway0_nonlocal(\d+)\.(?:bn|norm)\.(.+)", "layer{1-1}.{2}.non_local.bn.{3}"),
    (r"head\.projection\.(.+)", "classifier.{1}"),
    # Caffe2; riv is a variance, despite its name.
    (r"conv1_w", "stem.conv.weight"),
    (r"res_conv1_bn_(s|b|rm|riv)", "stem.bn.{1:blob}"),
    (r"res([2-5])_(\d+)_branch1_w", "layer{1-1}.{2}.downsample.0.weight"),
    (r"res([2-5])_(\d+)_branch1_bn_(s|b|rm|riv)", "layer{1-1}.{2}.downsample.1.{3:blob}"),
    (r"res([2-5])_(\d+)_branch2([abc])_w", "layer{1-1}.{2}.conv{3:conv}.weight"),
    (r"res([2-5])_(\d+)_branch2([abc])_bn_(s|b|rm|riv)", "layer{1-1}.{2}.bn{3:conv}.{4:blob}"),
    (rf"nonlocal_conv([2-5])_(\d+)_({_NL})_(w|b)", "layer{1-1}.{2}.non_local.{3}.{4:blob}"),
    (r"nonlocal_conv([2-5])_(\d+)_bn_(s|b|rm|riv)", "layer{1-1}.{2}.non_local.bn.{3:blob}"),
    (r"pred_(w|b)", "classifier.{1:blob}"),
    # PyTorchVideo without a pooling block; see `reader`.
    (r"blocks\.0\.conv\.weight", "stem.conv.weight"),
    (r"blocks\.0\.norm\.(.+)", "stem.bn.{1}"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch1_conv\.(.+)", "layer{1}.{2}.downsample.0.{3}"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch1_norm\.(.+)", "layer{1}.{2}.downsample.1.{3}"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.conv_([abc])\.(.+)", "layer{1}.{2}.conv{3:conv}.{4}"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.norm_([abc])\.(.+)", "layer{1}.{2}.bn{3:conv}.{4}"),
    (r"blocks\.5\.proj\.(.+)", "classifier.{1}"),
    # gluon-cv; its files have the classifier and the end of a non-local block under two names.
    (r"first_stage\.0\.weight", "stem.conv.weight"),
    (r"first_stage\.1\.(.+)", "stem.bn.{1}"),
    (r"res_layers\.(\d)\.(\d+)\.((?:conv|bn)\d|downsample\.[01])\.(.+)", "layer{1+1}.{2}.{3}.{4}"),
    (r"res_layers\.(\d)\.(\d+)\.nonlocal_block\.(theta|phi|g)\.(.+)", "layer{1+1}.{2}.non_local.{3}.{4}"),
    (r"res_layers\.(\d)\.(\d+)\.nonlocal_block\.(?:W|W_bn\.0)\.(.+)", "layer{1+1}.{2}.non_local.out.{3}"),
    (r"res_layers\.(\d)\.(\d+)\.nonlocal_block\.(?:bn|W_bn\.1)\.(.+)", "layer{1+1}.{2}.non_local.bn.{3}"),
    (r"head\.1\.(.+)", "classifier.{1}"),
)


def structure(file: File) -> Values:
    """Returns options that follow from the names of any file: its non-local blocks.

    Args:
        file: a file of any format, including this library's.
    """
    blocks = {name.rpartition(".non_local.")[0] for name in file.places if ".non_local." in name}
    if not blocks:
        return {}
    found: Values = {"nl": "nl10" if "layer2.0" in blocks else "nl5"}
    if not any(".non_local.theta." in name for name in file.places):
        found["attention"] = "gaussian"
    return found


def _pytorchvideo(file: File) -> Values:
    """Finds pooling of time after the first stage: it counts as a block, so that the classifier's number is higher."""
    if file.preset["kind"] == "slowonly":
        return {}
    return {"pool2": file.has(r"blocks\.6\.proj\."), **_stem(file, 1)}


def _pyslowfast(file: File) -> Values:
    return _stem(file, 1) | ({"sub_sample": "before"} if _looks(file) else {})


def _pyslowfast_usual(file: File) -> Values:
    return _pool2(file) | (_softmax(file, scaled=True) if _looks(file) else {})


def _gluon(file: File) -> Values:
    if file.preset["kind"] != "i3d":
        return {}
    found: Values = {**_stem(file, 2), "pool2": True}
    return found | ({"sub_sample": "none", "scaled": True} if _looks(file) else {})


def _mmaction2(file: File) -> Values:
    flat = len(file.places.get("stem.conv.weight", ())) == 4  # 2-D convolutions: a C2D
    return {"pool_padding": False, "pool2": True} if flat and file.preset["kind"] == "r2d" else {}


def _mmaction2_usual(file: File) -> Values:
    found = {**_stem(file, 2), **_pool2(file)}
    return found | ({"sub_sample": "after", **_softmax(file, scaled=False)} if _looks(file) else {})


def _stem(file: File, stride: int) -> Values:
    return {"stem_stride": stride} if file.preset["kind"] == "i3d" else {}


def _pool2(file: File) -> Values:
    """All projects' I3D and C2D halve time after the first stage; files of their nopool variants look the same."""
    return {} if file.preset["kind"] == "slowonly" else {"pool2": True}


def _softmax(file: File, scaled: bool) -> Values:
    given = file.given.get("attention", "embedded_gaussian")
    return {"attention": given} | ({} if given == "dot_product" else {"scaled": scaled})


def _looks(file: File) -> bool:
    return any(".non_local." in name for name in file.places)


_BUILDER = "facebookresearch/SlowFast slowfast/models/video_model_builder.py, nonlocal_helper.py"
FORMATS = (
    Format(
        "PyTorchVideo", r"blocks\.1\.res_blocks\.", "facebookresearch/pytorchvideo pytorchvideo/models/resnet.py",
        _pytorchvideo, clip=always(**GREY), compared=True,
    ),
    Format("PySlowFast", r"s1\.pathway0_stem\.", _BUILDER, _pyslowfast, _pyslowfast_usual, always(**GREY)),
    Format("Caffe2", r"res_conv1_bn_", _BUILDER, _pyslowfast, _pyslowfast_usual, always(**GREY)),
    Format(
        "gluon-cv", r"first_stage\.0\.", "dmlc/gluon-cv gluoncv/torch/model_zoo/action_recognition/i3d_resnet.py",
        _gluon, clip=always(**IMAGENET),
    ),
    Format(
        "mmaction2", r"backbone\.conv1\.conv\.",
        "open-mmlab/mmaction2 mmaction/models/backbones/resnet3d.py, c2d.py",
        _mmaction2, _mmaction2_usual, always(**IMAGENET),
    ),
    Format("torchvision", r"conv1\.weight", "pytorch/vision torchvision/models/resnet.py", clip=always(**IMAGENET)),
)  # fmt: skip
_PLACE = re.compile(r"\{(\d)(?:([+-])1|:(\w+))?\}")
_POOLED = re.compile(r"blocks\.(\d)\.(res_blocks\..+|proj\..+)")


def candidates(name: str) -> list[str]:
    """Returns the names in a network of `i3d` that may correspond to a name of another release, likeliest first.

    A name that no release has is returned unchanged; the prefix `module.` is dropped.
    """
    name = name.removeprefix("module.")
    return [translate(_RULES, name) or name]


def translate(rules: Rules, name: str) -> str | None:
    """Applies the first rule whose pattern matches the whole name; None if there is none.

    In a target, {2} is group 2 of the pattern, {2-1} the number before it, {2+1} the number after it, {2:conv} the
    number of the convolution that others call a, b or c, {2:blob} the meaning of Caffe2's letters.
    """
    for pattern, target in rules:
        found = re.fullmatch(pattern, name)
        if found:
            return _PLACE.sub(partial(_fill, found), target)
    return None


def _fill(found: re.Match[str], place: re.Match[str]) -> str:
    number, sign, letters = place.groups()
    value = found[int(number)]
    if sign:
        return str(int(value) + (1 if sign == "+" else -1))
    return _LETTERS[letters][value] if letters else value


def reader(names: Collection[str]) -> Callable[[str], list[str]]:
    """Makes `candidates` for all names of one file.

    Args:
        names: names of the file. PyTorchVideo counts the pooling after the first stage as a block, so that the numbers
            after it are one higher, and only the last block shows this.
    """
    if not any(name.removeprefix("module.").startswith("blocks.6.proj.") for name in names):
        return candidates

    def shifted(name: str) -> list[str]:
        found = _POOLED.fullmatch(name.removeprefix("module."))
        if found and int(found[1]) > 2:
            name = f"blocks.{int(found[1]) - 1}.{found[2]}"
        return candidates(name)

    return shifted


register_names(
    InflatedResNet, Names(candidates, NEW, reader=reader, convert=inflate, formats=FORMATS, structure=structure)
)
