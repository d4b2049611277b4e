"""3-D ResNets, r3d and r(2+1)d, plain and with SRTG (Squeeze and Recursion Temporal Gates).

The widths are those that give the parameters in the SRTG paper's table: a bottleneck does not expand (the stages of all
depths output 64, 128, 256 and 512 channels). Differences of other releases are options.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from kinema.clip_spec import ClipSpec
from kinema.models.checkpointing import Stack
from kinema.models.r3d_blocks import BasicBlock, Bottleneck, Middle, Order, Placement, R3DDesign, Shortcut, Stem
from kinema.models.registry import register
from kinema.models.video_model import VideoModel
from kinema.ops.arguments import Count, Eps, OddCount, Unit
from kinema.ops.recurrence import Cell, Compare, Fusion, Gate, SqueezeRecursion

LAYERS = {34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class ResNet3D(VideoModel):
    """A 3-D ResNet; it reduces T by 16 and the height and width of a clip by 32 (8 and 16 without max pooling).

    Args:
        design: design of the blocks.
        num_classes: number of outputs of the classifier.
        frames: T, the number of frames that the network is built for; it accepts any T.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
        eps: eps of the BatchNorms.
    """

    feature_maps = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(
        self, design: R3DDesign, num_classes: int, frames: int, width: float, dropout: float, eps: float = 1e-5
    ) -> None:
        super().__init__()
        block = Bottleneck if design.depth >= 50 else BasicBlock
        # Thesis, section 4.4.1: 16 frames, 2 apart (on HACS), uniformly random start, crops of 224 from a side of 320.
        self.clip_spec = ClipSpec(frames=frames, stride=2, sampler="dense", short_side=320)
        base = channels = max(1, round(64 * width))
        self.stem = Stem(channels, width, design)
        for i, count in enumerate(LAYERS[design.depth]):
            blocks = []
            for j in range(count):
                planes = base * 2**i
                blocks.append(block(channels, planes, design.stride(i, j), design))
                channels = planes * design.expansion
            setattr(self, f"layer{i + 1}", Stack(*blocks))
        self.dropout = nn.Dropout(dropout)
        self.add_classifier(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eps = eps
        self.initialise()


def _presets(prefix: str, factorised: bool, ordered: bool = True) -> dict[str, dict[str, Any]]:
    """Makes the names of one kind of convolution; options without an effect for it are fixed."""
    found: dict[str, dict[str, Any]] = {}
    for depth in LAYERS:
        found[f"{prefix}_{depth}"] = {"depth": depth, "factorised": factorised}
        if not factorised:
            found[f"{prefix}_{depth}"] |= {"middle": "block"} | ({"order": "space_first"} if ordered else {})
        if depth < 50:
            found[f"{prefix}_{depth}"] |= {"expansion": 1, "widening": 1}
    return found


@register(
    {
        **_presets("r3d", False),
        **_presets("r2plus1d", True),
        "wide_r3d_50": {"depth": 50, "factorised": False, "middle": "block", "order": "space_first", "widening": 2},
    },
    paper="SRTG, PRL 2021 (baselines)",
)
def r3d(
    depth: int,
    factorised: bool,
    num_classes: int = 400,
    frames: int = 16,
    width: float = 1.0,
    *,
    dropout: float = 0.0,
    expansion: Count = 1,
    widening: Count = 1,
    shortcut: Shortcut = "B",
    stem_frames: OddCount = 3,
    max_pool: bool = True,
    middle: Middle = "block",
    order: Order = "space_first",
    time_strides: Sequence[int] = (1, 2, 2, 2),
    space_strides: Sequence[int] = (1, 2, 2, 2),
    eps: Eps = 1e-5,
    residual_init: Unit = 1.0,
) -> ResNet3D:
    """A plain 3-D ResNet.

    The networks of 3D-ResNets-PyTorch are `stem_frames=7`, from depth 50 with `expansion=4`, the oldest weights of 34
    with `shortcut="A"`, r(2+1)d with `middle="convolution"`, and the wide one is `r3d_50` with `width=2, expansion=2`.
    r(2+1)d of PyTorchVideo is `r2plus1d_50` with `expansion=4, stem_frames=1, max_pool=False, middle="inner",
    order="time_first", time_strides=(1, 1, 2, 2), space_strides=(2, 2, 2, 2)`. That of VMZ with depth 34 has
    `middle="vmz", max_pool=False, eps=1e-3`. `kinema weights import` chooses these options automatically.

    Args:
        depth: fixed by the name.
        factorised: fixed by the name; (2+1)D instead of 3-D convolutions.
        num_classes: number of outputs.
        frames: T, the number of frames of a clip.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
        expansion: factor of the last convolution of a bottleneck; 1 follows from the paper's parameters, 4 is usual
            elsewhere.
        widening: factor of the inner channels of a bottleneck; `wide_r3d_50` fixes 2.
        shortcut: for a block that changes size: `B`, a 1x1x1 convolution with BatchNorm, or `A`, strided, zero-padded.
        stem_frames: temporal size of the first kernel; 3, with 3x7x7, gives the paper's GFLOPs.
        max_pool: max pooling in the stem. The SRTG authors' code has none, but their published GFLOPs include it.
        middle: channels between the factors of (2+1)D: `block`, from the block's input and output for all its
            convolutions (the SRTG authors); `convolution`, from those of each convolution, also in the stem; `vmz`, the
            same except in the stem; `inner`, as many as the convolution has outputs, and the stem is one convolution
            (PyTorchVideo).
        order: order of the factors of (2+1)D: `space_first` or `time_first`.
        time_strides: strides of the first block of each of the four stages, 1 or 2.
        space_strides: strides of the first block of each of the four stages, 1 or 2.
        eps: eps of the BatchNorms.
        residual_init: initial weight of the last BatchNorm of every block, 0 to 1. Below 1, the blocks start nearer to
            the identity, and the loss is less sharp.
    """
    design = R3DDesign(
        depth, factorised, middle, expansion, widening, shortcut, stem_frames, max_pool, order=order,
        time_strides=time_strides, space_strides=space_strides, residual_init=residual_init,
    )  # fmt: skip
    return ResNet3D(design, num_classes, frames, width, dropout, eps)


@register({**_presets("srtg_r3d", False, ordered=False), **_presets("srtg_r2plus1d", True)}, paper="SRTG, PRL 2021")
def srtg(
    depth: int,
    factorised: bool,
    num_classes: int = 400,
    frames: int = 16,
    width: float = 1.0,
    *,
    placement: Placement = "final",
    gate: Gate = "hard",
    cell: Cell = "lstm",
    layers: int = 2,
    temperature: float = 1.0,
    fusion: Fusion = "residual",
    compare: Compare = "fused",
    dropout: float = 0.0,
    expansion: Count = 1,
    widening: Count = 1,
    shortcut: Shortcut = "B",
    stem_frames: OddCount = 3,
    max_pool: bool = True,
    middle: Middle = "block",
    residual_init: Unit = 0.3,
) -> ResNet3D:
    """A 3-D ResNet with Squeeze and Recursion in every block.

    The defaults are those with which it learns from random weights (`benchmarks/README.md`): the states are added back
    as a product, a gate compares the features with the fused ones, blocks start near the identity (`residual_init`),
    and the recurrent cells learn at a tenth of the rate (`recurrence_rate`; `optim.lr_mult` overrides it). The product
    alone (`fusion="mul"` at `final`) multiplies the features by states near 0 in every block, and hardly learns.

    Args:
        depth: fixed by the name.
        factorised: fixed by the name.
        num_classes: number of outputs.
        frames: T, the number of frames of a clip.
        width: factor of all channels.
        placement: `start`: the block's input, before both branches; `top`: after the first convolution of a bottleneck;
            `mid`: after the first of a simple block, the second of a bottleneck; `end`: after the last of a bottleneck,
            before the addition; `res`: on every shortcut; `final`: after the addition. Depth 34 has no `top` and `end`.
        gate: `hard` or `none`. The authors' released weights are `gate="none", fusion="mul", max_pool=False`.
        cell: `lstm`, `gru`, `rnn`, `peephole`.
        layers: number of stacked cells.
        temperature: temperature of the gate, see `SqueezeRecursion`.
        fusion: `mul`, `add` or `residual`, see `SqueezeRecursion`.
        compare: what the gate compares the features with, `state` or `fused`, see `SqueezeRecursion`.
        dropout: dropout rate before the classifier.
        expansion: factor of the last convolution of a bottleneck; 1 follows from the paper's parameters, 4 is usual
            elsewhere.
        widening: factor of the inner channels of a bottleneck.
        shortcut: for a block that changes size: `B`, a 1x1x1 convolution with BatchNorm, or `A`, strided, zero-padded.
        stem_frames: temporal size of the first kernel; 3, with 3x7x7, gives the paper's GFLOPs.
        max_pool: max pooling in the stem; False for the authors' released weights. Their published GFLOPs include it.
        middle: channels between the factors of (2+1)D: `block`, from the block's input and output for all its
            convolutions (the authors); `convolution`, from those of each convolution, also in the stem; `vmz`, the same
            except in the stem; `inner`, as many as the convolution has outputs, and the stem is one convolution.
        residual_init: initial weight of the last BatchNorm of every block, 0 to 1. With 1, one of three seeds did not
            begin to learn on each of two generated tasks; the default was chosen there, see `benchmarks/README.md`.
    """

    def recursion(channels: int) -> nn.Module:
        return SqueezeRecursion(
            channels, cell=cell, layers=layers, gate=gate, temperature=temperature, fusion=fusion, compare=compare
        )  # fmt: skip

    design = R3DDesign(
        depth, factorised, middle, expansion, widening, shortcut, stem_frames, max_pool, placement, recursion,
        residual_init=residual_init,
    )  # fmt: skip
    model = ResNet3D(design, num_classes, frames, width, dropout)
    model.recurrence_rate = 0.1
    model.trunk_product = fusion == "mul" and placement == "final"
    return model
