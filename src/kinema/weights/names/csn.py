"""Names of other releases of channel-separated networks: VMZ, mmaction2 and PyTorchVideo. Names only, no tensors."""

from __future__ import annotations

from kinema.models.csn import CSN
from kinema.weights.names.family import Names, register_names
from kinema.weights.names.formats import GREY, IMAGENET, Format, always
from kinema.weights.names.rules import Rule, places

_BLOCK = r"(layer\d\.\d+)"

# Pattern of a whole name -> possible names here. If an ip-CSN has both names, its own comes first.
_RULES: tuple[Rule, ...] = (
    # VMZ: convolution and BatchNorm of a step are one Sequential; a composed convolution may be another one inside it.
    (r"stem\.0\.weight", r"stem.conv.weight"),
    (r"stem\.1\.(.+)", r"stem.norm.\1"),
    (rf"{_BLOCK}\.conv1\.0\.weight", r"\1.conv_a.weight"),
    (rf"{_BLOCK}\.conv1\.1\.(.+)", r"\1.norm_a.\2"),
    (rf"{_BLOCK}\.conv2\.0\.0\.weight", r"\1.mix.0.weight"),
    (rf"{_BLOCK}\.conv2\.0\.1\.(.+)", r"\1.mix.1.\2"),
    (rf"{_BLOCK}\.conv2\.0(\.2)?\.weight", r"\1.conv_b.weight"),
    (rf"{_BLOCK}\.conv2\.1\.(weight|bias|running_mean|running_var|num_batches_tracked)", r"\1.norm_b.\2"),
    (rf"{_BLOCK}\.conv3\.0\.weight", r"\1.conv_c.weight"),
    (rf"{_BLOCK}\.conv3\.1\.(.+)", r"\1.norm_c.\2"),
    (rf"{_BLOCK}\.downsample\.([01]\..+)", r"\1.shortcut.\2"),
    (r"fc\.(.+)", r"classifier.\1"),
    # mmaction2: steps of the channel-wise part are numbered, one for ir-CSN and two for ip-CSN.
    (r"backbone\.conv1\.conv\.weight", r"stem.conv.weight"),
    (r"backbone\.conv1\.bn\.(.+)", r"stem.norm.\1"),
    (rf"backbone\.{_BLOCK}\.conv1\.conv\.weight", r"\1.conv_a.weight"),
    (rf"backbone\.{_BLOCK}\.conv1\.bn\.(.+)", r"\1.norm_a.\2"),
    (rf"backbone\.{_BLOCK}\.conv2\.0\.conv\.weight", r"\1.mix.0.weight", r"\1.conv_b.weight"),
    (rf"backbone\.{_BLOCK}\.conv2\.0\.bn\.(.+)", r"\1.mix.1.\2", r"\1.norm_b.\2"),
    (rf"backbone\.{_BLOCK}\.conv2\.1\.conv\.weight", r"\1.conv_b.weight"),
    (rf"backbone\.{_BLOCK}\.conv2\.1\.bn\.(.+)", r"\1.norm_b.\2"),
    (rf"backbone\.{_BLOCK}\.conv3\.conv\.weight", r"\1.conv_c.weight"),
    (rf"backbone\.{_BLOCK}\.conv3\.bn\.(.+)", r"\1.norm_c.\2"),
    (rf"backbone\.{_BLOCK}\.downsample\.conv\.weight", r"\1.shortcut.0.weight"),
    (rf"backbone\.{_BLOCK}\.downsample\.bn\.(.+)", r"\1.shortcut.1.\2"),
    (r"cls_head\.fc_cls\.(.+)", r"classifier.\1"),
    # PyTorchVideo, which has only ir-CSN.
    (r"blocks\.0\.conv\.weight", r"stem.conv.weight"),
    (r"blocks\.0\.norm\.(.+)", r"stem.norm.\1"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch1_conv\.(.+)", r"layer\1.\2.shortcut.0.\3"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch1_norm\.(.+)", r"layer\1.\2.shortcut.1.\3"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.((?:conv|norm)_[abc])\.(.+)", r"layer\1.\2.\3.\4"),
    (r"blocks\.5\.proj\.(.+)", r"classifier.\1"),
)

FORMATS = (
    Format(
        "VMZ", r"layer1\.0\.conv1\.0\.", "facebookresearch/VMZ pt/vmz/models/utils.py (_generic_resnet)",
        options=always(eps=1e-3),
    ),
    Format(
        "mmaction2", r"backbone\.layer1\.0\.conv1\.conv\.",
        "open-mmlab/mmaction2 mmaction/models/backbones/resnet3d_csn.py (norm_cfg)",
        options=always(eps=1e-3), clip=always(**IMAGENET),
    ),
    Format(
        "PyTorchVideo", r"blocks\.1\.res_blocks\.",
        "facebookresearch/pytorchvideo pytorchvideo/models/csn.py, hub/csn.py",
        options=always(eps=1e-5), clip=always(**GREY), compared=True,
    ),
)  # fmt: skip


def candidates(name: str) -> list[str]:
    """Returns the names in a network of `csn` that may correspond to a name of another release, likeliest first.

    A name that no release has is returned unchanged; the prefix `module.` is dropped.
    """
    return places(_RULES, name)


register_names(CSN, Names(candidates, formats=FORMATS))
