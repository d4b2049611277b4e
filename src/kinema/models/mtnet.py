"""Multi-temporal networks: MTNet, which is X3D with MTBlocks, and a 3-D ResNet-50 of MTConvs.

The text of the paper and its complexity tables describe different networks. `mtnet_s`, `mtnet_m` and `mtnet_l` are the
text; `mtnet_*_table` are a fit to the tables, whose parameters and MACs the text can not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError, unknown
from kinema.models.registry import register
from kinema.ops.layout import check_clips
from kinema.ops.mtblock import MTBlock, OctaveBlock, PerStream, StreamRecursion, Streams, projection
from kinema.ops.mtconv import ConvNorm, MTConv, Split, branch_channels, unite
from kinema.ops.pooling import Pooling, prolong
from kinema.ops.recurrence import Cell, SqueezeRecursion
from kinema.ops.selection import select_frames
from kinema.ops.x3d import X3DHead, X3DStem

Size = Literal["s", "m", "l"]
Block = Literal["text", "table"]
Stride = tuple[int, int, int]

# Frames, crop and short side (table 6.3 and section 5.4.1 of the thesis), factor on the depths of the stages.
SIZES: dict[Size, tuple[int, int, int, float]] = {
    "s": (13, 182, 228, 2.2),
    "m": (16, 256, 320, 2.2),
    "l": (16, 256, 320, 5.0),
}


@dataclass(frozen=True)
class Design:
    """What the blocks are made of; see `mtnet` for the meaning of each."""

    delta: float
    split: Split
    pooling: Pooling
    block: Block
    cell: Cell
    layers: int
    relu_before_sum: bool

    def __post_init__(self) -> None:
        for key, allowed in (("split", Split), ("pooling", Pooling), ("block", Block)):
            if getattr(self, key) not in get_args(allowed):
                raise unknown(f"value of {key}", str(getattr(self, key)), get_args(allowed))
        if not isinstance(self.layers, int) or isinstance(self.layers, bool) or self.layers < 0:
            raise KinemaError(f"layers is {self.layers!r}: give the number of recurrent layers, 0 for none")

    def convolution(
        self,
        channels: int,
        out_channels: int,
        kernel: Stride,
        stride: Stride = (1, 1, 1),
        groups: int = 1,
        relu: bool = True,
    ) -> MTConv:
        """An MTConv of this design."""
        return MTConv(
            channels, out_channels, kernel, stride, delta=self.delta, split=self.split, pooling=self.pooling,
            groups=groups, relu=relu,
        )  # fmt: skip

    def per_stream(self, channels: int, out_channels: int, **options: Any) -> nn.Module:
        """A convolution that keeps the streams apart: one for the text split, one each for the octave split."""

    def make(self, channels: int, inner: int, out_channels: int, stride: Stride, channelwise: bool) -> MTBlock:
        """A block."""
        point, cube = (1, 1, 1), (3, 3, 3)
        groups = inner if channelwise else 1
        convs: list[nn.Module] = [self.convolution(channels, inner, point)]
        if self.block == "text":
            convs.append(self.convolution(inner, inner, cube, stride, groups=groups))
            convs.append(self.convolution(inner, out_channels, point, relu=self.relu_before_sum))
        else:
            convs.append(self.plain(inner, inner, cube, stride, channelwise=True))
            convs.append(self.convolution(inner, out_channels, cube, relu=self.relu_before_sum))
        return convs
