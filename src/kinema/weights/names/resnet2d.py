"""Names of other releases of 2-D ResNets: torchvision, Res2Net, mmaction2, MIT's TSM and the authors of TEA and TANet.

Names of TEA, TANet and Res2Net were taken from their code; none of their files was loaded. Only one kind of tensor is
changed: STM's temporal kernels, if a causal network starts from one that looks ahead.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from kinema.models.resnet2d import ResNet2D
from kinema.weights.names.family import Names, register_names
from kinema.weights.names.formats import IMAGENET, File, Format, Values, always

# Parts for which a 2-D network has no weights; they keep their initial values.
NEW = re.compile(r"\.(t\.(weight|fixed)|cmm\..*|mix\.weight|tam\..*|me\..*|mta\.t\.\d+)$")

# Rules that turn a name of another release into one of torchvision's.
_RULES = [
    (re.compile(pattern), target)
    for pattern, target in (
        # MIT's TSM: torchvision's ResNet with its first convolutions inside the shift module, and a separate classifier
        (r"^base_model\.", ""),
        # TANet: the block is inside another module, beside its temporal adaptive module.
        (r"^((?:backbone\.)?layer\d\.\d+)\.(?:net|block)\.", r"\1."),
        (r"^(?:backbone\.)?(layer\d\.\d+)\.tam\.G\.", r"\1.conv2.tam.kernel."),
        (r"^(?:backbone\.)?(layer\d\.\d+)\.tam\.L\.", r"\1.conv2.tam.weigh."),
        # Res2Net, and TEA, whose blocks have further parts.
        (r"\.me\.conv1\.", ".me.reduce."),
        (r"\.me\.bn1\.", ".me.norm."),
        (r"\.me\.conv2\.", ".me.move."),
        (r"\.me\.conv3\.", ".me.restore."),
        (r"\.me\.bn3\.", ".me.restore_norm."),
        (r"\.convs\.(\d)\.", r".mta.convs.\1."),
        (r"\.bns\.(\d)\.", r".mta.norms.\1."),
        (r"\.shifts\.(\d)\.conv\.weight$", r".mta.t.\1"),
        (r"\.net\.weight$", ".weight"),
        (r"^new_fc\.", "fc."),
        # mmaction2: convolution and BatchNorm of a step are one module.
        (r"^cls_head\.fc_cls\.", "fc."),
        (r"^backbone\.conv1\.conv\.", "conv1."),
        (r"^backbone\.conv1\.bn\.", "bn1."),
        (r"^backbone\.(layer\d\.\d+)\.conv(\d)\.conv\.", r"\1.conv\2."),
        (r"^backbone\.(layer\d\.\d+)\.conv(\d)\.bn\.", r"\1.bn\2."),
        (r"^backbone\.(layer\d\.\d+)\.downsample\.conv\.", r"\1.downsample.0."),
        (r"^backbone\.(layer\d\.\d+)\.downsample\.bn\.", r"\1.downsample.1."),
    )
]


def _unshifted(file: File) -> str | None:
    """Rejects weights with shifted convolutions (MIT and mmaction2: inside a module `net`) for other networks."""
    shifts = file.has(r".*\.conv1\.(conv\.)?net\.weight")
    if shifts and file.network.startswith("tsn_"):
        tsm = file.network.replace("tsn_", "tsm_", 1)
        return f"it is for a network that shifts channels, but {file.network} does not: give --model {tsm}"
    return None


def _eighth(file: File) -> dict[str, int]:
    """Both projects shift an eighth of the channels in each direction."""
    return {"fold": 8} if file.has(r".*\.conv1\.(conv\.)?net\.weight") else {}


def _only(network: str) -> Callable[[File], str | None]:
    """Rejects every network except the one with the file's blocks."""

    def refused(file: File) -> str | None:
        if file.network == network:
            return None
        return f"its blocks are those of {network}, but {file.network} does not have them: give --model {network}"

    return refused


def structure(file: File) -> Values:
    """Returns, for TANet, the frames and widths of its temporal adaptive modules, from the shapes of the first one."""
    shapes = [file.places.get(f"layer1.0.conv2.tam.{part}.weight") for part in ("kernel.0", "kernel.3", "weigh.0")]
    if file.network != "tanet_r50" or None in shapes:
        return {}
    (hidden, frames), (kernel_size, _), (inner, channels, _) = shapes  # type: ignore[misc]
    return {"frames": frames, "alpha": hidden // frames, "kernel_size": kernel_size, "beta": channels // inner}


FORMATS = (
    Format(
        "TEA", r"base_model\.layer1\.0\.convs\.", "Phoenix1327/tea-action-recognition ops/tea50_8f.py, ops/models.py",
        lambda file: {"mode": "tea"}, clip=always(**IMAGENET), refused=_only("tea_r50"),
    ),
    Format(
        "TANet", r"base_model\.layer1\.0\.net\.", "liu-zhy/temporal-adaptive-module ops/temporal_module.py",
        clip=always(**IMAGENET), refused=_only("tanet_r50"),
    ),
    Format(
        "MIT TSM", r"base_model\.layer1\.0\.conv2\.",
        "mit-han-lab/temporal-shift-module ops/temporal_shift.py, ops/models.py",
        _eighth, clip=always(**IMAGENET), refused=_unshifted,
    ),
    Format(
        "mmaction2", r"backbone\.layer1\.0\.conv1\.conv\.",
        "open-mmlab/mmaction2 mmaction/models/backbones/resnet_tsm.py",
        _eighth, clip=always(**IMAGENET), refused=_unshifted,
    ),
    Format(
        "mmaction2 TANet", r"backbone\.layer1\.0\.block\.",
        "open-mmlab/mmaction2 mmaction/models/backbones/tanet.py, mmaction/models/common/tam.py",
        clip=always(**IMAGENET), refused=_only("tanet_r50"),
    ),
    Format(
        "Res2Net", r"layer1\.0\.convs\.", "Phoenix1327/tea-action-recognition ops/tea50_8f.py (Bottle2neck)",
        clip=always(**IMAGENET), refused=_only("tea_r50"),
    ),
    Format(
        "torchvision", r"layer1\.0\.conv2\.", "pytorch/vision torchvision/models/resnet.py", clip=always(**IMAGENET)
    ),
)  # fmt: skip


def candidates(name: str) -> list[str]:
    """Returns the names in a network of `resnet2d` that may correspond to a name of another release, likeliest first.

    A 3x3 convolution goes where the network has it: plain, in CSTM, or beside CMM. The prefix `module.` is dropped.
    """
    name = name.removeprefix("module.")
    for pattern, target in _RULES:
        name = pattern.sub(target, name)
    if name.startswith(("conv1.", "bn1.")):
        name = "stem." + name.replace("1", "", 1)
    name = re.sub(r"^fc\.", "classifier.", name)
    found = re.fullmatch(r"(layer\d\.\d+\.conv\d)\.weight", name)
    if not found:
        return [name]
    return [f"{found.group(1)}{inside}.weight" for inside in ("", ".conv", ".cstm.conv", ".cstm")]


def convert(name: str, tensor: Tensor, shape: torch.Size) -> tuple[Tensor, str] | None:
    """Converts the temporal kernel of a CSTM on t - 1, t and t + 1 to a causal one on t - 1 and t.

    The weight of t + 1 is added to that of t: if nothing moves, the causal network computes the same as the other one.
    The fixed kernel of the low frequency (t and t + 1) becomes that of t - 1 and t.

    Args:
        name: name in the file.
        tensor: C G 3.
        shape: C G 2.

    Returns:
        The causal kernel and what was done, or None for all other tensors.
    """
    kind = re.search(r"\.t\.(weight|fixed)$", name)
    if kind is None or tensor.ndim != 3 or len(shape) != 3 or (tensor.shape[2], shape[2]) != (3, 2):
        return None
    before, now, after = tensor.unbind(2)
    if kind[1] == "fixed":
        return torch.stack([after, now], 2), "made causal by replacing the later frame with the earlier one"
    return torch.stack([before, now + after], 2), "made causal by adding the later frame's weight to the current one"


register_names(ResNet2D, Names(candidates, NEW, convert=convert, formats=FORMATS, structure=structure))
