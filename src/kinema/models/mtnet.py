"""Multi-temporal networks: MTNet, which is X3D with MTBlocks, and a 3-D ResNet-50 with MTConvs.

The text of the paper and its complexity tables describe different networks: `mtnet_s`, `mtnet_m` and `mtnet_l` follow
the text, `mtnet_*_table` are a fit to the tables, whose parameters and MACs no reading of the text gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from kinema.clip_spec import ClipSpec
from kinema.models.checkpointing import Stack
from kinema.models.registry import register
from kinema.models.video_model import VideoModel, Watch, average, unchanged
from kinema.models.x3d_blocks import X3DHead, X3DStem
from kinema.ops.arguments import Range
from kinema.ops.conv import Conv3d
from kinema.ops.layout import check_clips
from kinema.ops.mtconv import ConvNorm, MTConv, Split
from kinema.ops.pooling import Pooling
from kinema.ops.recurrence import Cell, SqueezeRecursion
from kinema.ops.selection import select_frames

Size = Literal["s", "m", "l"]
Block = Literal["channelwise", "dense", "table"]
StemKind = Literal["x3d", "spatial"]
Layers = Annotated[int, Range(0)]
Stride = tuple[int, int, int]

# Frames and crop (thesis, table 6.3; the crops of S are 256 resized to 182), short side, factor of the stages' depths.
SIZES: dict[Size, tuple[int, int, int, float]] = {
    "s": (13, 182, 228, 2.2),
    "m": (16, 256, 320, 2.2),
    "l": (16, 256, 320, 5.0),
}
POINT, CUBE = (1, 1, 1), (3, 3, 3)

# Initial weight of the last BatchNorm of a block without recursion (with recursion, the states near 0 have the same
# effect): the loss is less sharp if blocks have little weight beside their shortcuts at the start. Set in short runs on
# moving shapes, checked on puppets (`benchmarks/README.md`).
BESIDE_SHORTCUT = 0.3


@dataclass(frozen=True)
class MTNetDesign:
    """Design of the blocks; see `mtnet` for the meaning of each field."""

    block: Block
    split: Split
    delta: float
    pooling: Pooling
    cell: Cell
    layers: Layers
    relu_before_sum: bool

    def convs(self, channels: int, inner: int, out_channels: int, stride: Stride) -> list[nn.Module]:
        """Builds the convolutions of a block, including BatchNorm and ReLU."""
        conv = partial(MTConv, delta=self.delta, split=self.split, pooling=self.pooling)
        last = partial(conv, inner, out_channels, relu=self.relu_before_sum)
        if self.block == "table":
            middle: nn.Module = ConvNorm(inner, inner, CUBE, stride, groups=inner)
            return [conv(channels, inner, POINT), middle, last(CUBE)]
        groups = inner if self.block == "channelwise" else 1
        return [conv(channels, inner, POINT), conv(inner, inner, CUBE, stride, groups=groups), last(POINT)]


class MTBlock(nn.Module):
    """Convolutions in sequence, Squeeze and Recursion on their result, shortcut, ReLU; N C T H W -> N C' T' H' W'.

    Source: MTConv, figure 2.
    """

    def __init__(self, channels: int, inner: int, out_channels: int, stride: Stride, design: MTNetDesign) -> None:
        super().__init__()
        self.convs = nn.Sequential(*design.convs(channels, inner, out_channels, stride))
        self.recursion: nn.Module = nn.Identity()
        if design.layers:
            self.recursion = SqueezeRecursion(out_channels, cell=design.cell, layers=design.layers)
        else:
            end = self.convs[-1]
            assert isinstance(end, MTConv)
            nn.init.constant_(end.local.norm.weight, BESIDE_SHORTCUT)
        self.shortcut: nn.Module = nn.Identity()
        if stride != (1, 1, 1) or channels != out_channels:
            self.shortcut = ConvNorm(channels, out_channels, POINT, stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T' H' W'."""
        return torch.relu(self.recursion(self.convs(x)) + self.shortcut(x))


class MTNet(VideoModel):
    """A network of MTBlocks between a stem and a head.

    Args:
        stem: N 3 T H W -> N C T' H' W'.
        channels: C.
        stages: channels, inner channels, number of blocks and stride of each stage.
        design: design of the blocks.
        halve_time: frame selection keeps half of the stem's frames.
        head: N C T H W -> N F.
        features: F.
        num_classes: number of outputs of the classifier.
        dropout: dropout rate before the classifier.
        spec: specification of the clips.
    """

    feature_maps = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(
        self,
        stem: nn.Module,
        channels: int,
        stages: list[tuple[int, int, int, Stride]],
        design: MTNetDesign,
        halve_time: bool,
        head: nn.Module,
        features: int,
        num_classes: int,
        dropout: float,
        spec: ClipSpec,
    ) -> None:
        super().__init__()
        self.clip_spec, self.halve_time = spec, halve_time
        self.stem = stem
        for i, (out_channels, inner, count, stride) in enumerate(stages):
            blocks = []
            for j in range(count):
                blocks.append(MTBlock(channels, inner, out_channels, stride if j == 0 else (1, 1, 1), design))
                channels = out_channels
            setattr(self, f"layer{i + 1}", Stack(*blocks))
        self.head = head
        self.dropout = nn.Dropout(dropout)
        self.add_classifier(features, num_classes)
        self.initialise(mode="fan_in")  # same as for the MTConvs

    def run_stages(self, x: Tensor, watch: Watch = unchanged) -> Tensor:
        """Selects frames between the stem and the other stages."""
        x = watch("stem", self.stage("stem", check_clips(x).contiguous(memory_format=torch.channels_last_3d)))
        if self.halve_time and x.shape[2] > 2:
            x, _ = select_frames(x, x.shape[2] // 2)
        for name in self.feature_maps[1:]:
            x = watch(name, self.stage(name, x))
        return x

    def pool(self, features: Tensor) -> Tensor:
        """N C T H W -> N F."""
        return self.head(features)


_TABLE = {"block": "table", "split": "octave", "halve_time": True}


@register(
    {f"mtnet_{s}": {"size": s} for s in SIZES} | {f"mtnet_{s}_table": {"size": s, **_TABLE} for s in SIZES},
    paper="MTConv, IJCNN 2021",
)
def mtnet(
    size: Size,
    num_classes: int = 400,
    frames: int | None = None,
    width: float = 1.0,
    *,
    delta: float = 7 / 8,
    split: Split = "text",
    pooling: Pooling = "softpool+cosine",
    cell: Cell = "gru",
    layers: Layers = 2,
    block: Block = "channelwise",
    halve_time: bool = False,
    relu_before_sum: bool = True,
    stem: StemKind = "x3d",
    dropout: float = 0.5,
) -> MTNet:
    """MTNet-S, -M and -L.

    Args:
        size: fixed by the name.
        num_classes: number of outputs.
        frames: T; None is the value of the thesis, 13 for S and 16 for M and L.
        width: factor of all channels.
        delta: share of channels in the local branches, in (0, 1]; 1 has no prolonged branches.
        split: `text`: both branches see all channels, as in the equations; `octave`: their own, as the tables imply.
        pooling: halves the inputs of the prolonged branches (table VIc): `average`, `max`, `stochastic` or `softpool`
            in time and space; `average+cosine` and `softpool+cosine` in space, with selected frames.
        cell: cell of Squeeze and Recursion (table VIb): `rnn`, `lstm`, `peephole` or `gru`.
        layers: number of stacked cells; 0 for no recursion.
        block: `channelwise`: MTConvs of 1x1x1, channel-wise 3x3x3 and 1x1x1, as in X3D. `dense`: its 3x3x3 uses all
            channels. `table`: MTConv of 1x1x1, a plain channel-wise 3x3x3, MTConv of a dense 3x3x3.
        halve_time: frame selection after the stem, and temporal stride 2 in the last three stages; otherwise the blocks
            keep T.
        relu_before_sum: apply the ReLU of a block's last convolution before the shortcut is added, as in the paper.
        stem: `x3d`, a 1x3x3 and a channel-wise 5x1x1 convolution, because the paper calls the networks X3D; `spatial`,
            only the 1x3x3, as printed in the thesis (table 6.1b).
        dropout: dropout rate before the classifier.
    """
    native, crop, short_side, depth = SIZES[size]
    spec = ClipSpec(frames=frames or native, stride=5, sampler="normal", short_side=short_side, crop=crop)
    design = MTNetDesign(block, split, delta, pooling, cell, layers, relu_before_sum)
    stages = []
    for i, (planes, count) in enumerate(((24, 1), (48, 2), (96, 5), (192, 3))):
        out_channels = max(1, round(planes * width))
        step = 2 if halve_time and i > 0 else 1
        stages.append((out_channels, int(2.25 * out_channels), ceil(count * depth), (step, 2, 2)))
    channels, features = stages[0][0], max(1, round(2048 * width))
    head = X3DHead(out_channels, int(2.25 * out_channels), features)
    entry = X3DStem(channels, temporal=stem == "x3d")
    return MTNet(entry, channels, stages, design, halve_time, head, features, num_classes, dropout, spec)


class _ResNetStem(nn.Sequential):
    """The stem of r3d_50."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv3d(3, channels, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)
        self.bn = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool3d(3, 2, 1)


class _Mean(nn.Module):
    """N C T H W -> N C."""

    def forward(self, x: Tensor) -> Tensor:
        """The mean over the clip."""
        return average(x, (2, 3, 4))


@register({"mtconv_r50": {}}, paper="MTConv, IJCNN 2021")
def mtconv_r50(
    num_classes: int = 400,
    frames: int = 16,
    width: float = 1.0,
    *,
    delta: float = 7 / 8,
    split: Split = "text",
    pooling: Pooling = "softpool+cosine",
    cell: Cell = "gru",
    layers: Layers = 0,
    relu_before_sum: bool = False,
    dropout: float = 0.0,
) -> MTNet:
    """The 3-D ResNet-50 of the SRTG paper with an MTConv instead of every convolution of its blocks (table II).

    Args:
        num_classes: number of outputs.
        frames: T, the number of frames of a clip.
        width: factor of all channels.
        delta: share of channels in the local branches, in (0, 1]; 1 has no prolonged branches.
        split: `text`: both branches see all channels, as in the equations; `octave`: their own, as the tables imply.
        pooling: halves the inputs of the prolonged branches (table VIc): `average`, `max`, `stochastic` or `softpool`
            in time and space; `average+cosine` and `softpool+cosine` in space, with selected frames.
        cell: cell of Squeeze and Recursion (table VIb): `rnn`, `lstm`, `peephole` or `gru`.
        layers: cells of Squeeze and Recursion; 0 (none) fits table II, which compares convolutions.
        relu_before_sum: apply the ReLU of a block's last convolution before the shortcut is added, as in the paper's
            equations. With False, as in the authors' released code and in r3d_50, a block can also lower its features;
            only then the network learns as well as r3d_50 (`benchmarks/README.md`).
        dropout: dropout rate before the classifier.
    """
    spec = ClipSpec(frames=frames, stride=5, sampler="normal", short_side=320, crop=224)
    design = MTNetDesign("dense", split, delta, pooling, cell, layers, relu_before_sum)
    stages: list[tuple[int, int, int, Stride]] = []
    for i, count in enumerate((3, 4, 6, 3)):
        channels = max(1, round(64 * width)) * 2**i
        stages.append((channels, channels, count, (2, 2, 2) if i else (1, 1, 1)))
    stem = _ResNetStem(stages[0][0])
    return MTNet(stem, stages[0][0], stages, design, False, _Mean(), channels, num_classes, dropout, spec)
