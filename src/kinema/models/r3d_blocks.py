"""Blocks of 3-D ResNets: 3-D or (2+1)D convolutions, simple or bottleneck, with six possible places for SRTG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError, unknown
from kinema.ops.conv import Conv3d

Shortcut = Literal["A", "B"]
Middle = Literal["block", "convolution", "vmz", "inner"]
Order = Literal["space_first", "time_first"]
Stride = tuple[int, int]  # in time, in space
Placement = Literal["start", "top", "mid", "end", "res", "final"]


@dataclass(frozen=True)
class R3DDesign:
    """Design of the blocks; see `r3d` and `srtg` for the meaning of each field.

    Attributes:
        recursion: builds the module at `placement` in every block from its channels; None is a plain network.
    """

    depth: int
    factorised: bool
    middle: Middle
    expansion: int
    widening: int
    shortcut: Shortcut
    stem_frames: int
    max_pool: bool
    placement: Placement | None = None
    recursion: Callable[[int], nn.Module] | None = None
    order: Order = "space_first"
    time_strides: Sequence[int] = (1, 2, 2, 2)
    space_strides: Sequence[int] = (1, 2, 2, 2)
    residual_init: float = 1.0

    def __post_init__(self) -> None:
        for key in ("time_strides", "space_strides"):
            value = getattr(self, key)
            whole = isinstance(value, Sequence) and all(type(v) is int and v in (1, 2) for v in value)
            if not whole or len(value) != 4:
                raise KinemaError(f"{key} is {value!r}: give four numbers, 1 or 2 per stage")

    def convolution(self, channels: int, out_channels: int, middle: int, stride: Stride = (1, 1)) -> nn.Module:
        """Builds the 3x3x3 of a block, or its two factors with `middle` channels between them."""
        if self.factorised:
            return Conv2Plus1D(channels, out_channels, middle, (3, 3), stride, self.order)
        return Conv3d(channels, out_channels, 3, _three(stride), 1, bias=False)

    def stride(self, stage: int, block: int) -> Stride:
        """Returns the strides of a block; stages and blocks count from 0."""
        return (self.time_strides[stage], self.space_strides[stage]) if block == 0 else (1, 1)


class Conv2Plus1D(nn.Sequential):
    """A spatial 1xKxK convolution, BatchNorm, ReLU and a temporal Tx1x1 convolution; N C T H W -> N C' T' H' W'.

    With the order `time_first`, the temporal convolution comes before the spatial one.

    Args:
        channels: C.
        out_channels: C'.
        middle: channels between the two convolutions.
        kernel: T and K.
        stride: strides in time and in space.
        order: order of the two convolutions.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        middle: int,
        kernel: tuple[int, int],
        stride: Stride,
        order: Order = "space_first",
    ) -> None:
        super().__init__()
        (t, k), (step_t, step) = kernel, stride
        into, out = ((channels, middle), (middle, out_channels))[:: 1 if order == "space_first" else -1]
        spatial = Conv3d(*into, (1, k, k), (1, step, step), (0, k // 2, k // 2), bias=False)
        temporal = Conv3d(*out, (t, 1, 1), (step_t, 1, 1), (t // 2, 0, 0), bias=False)
        first, last = (("spatial", spatial), ("temporal", temporal))[:: 1 if order == "space_first" else -1]
        self.add_module(*first)
        self.bn = nn.BatchNorm3d(middle)
        self.relu = nn.ReLU(inplace=True)
        self.add_module(*last)


def _three(stride: Stride) -> tuple[int, int, int]:
    return (stride[0], stride[1], stride[1])


def middle_channels(channels: int, out_channels: int, frames: int = 3, size: int = 3) -> int:
    """Returns the channels between the factors that give as many weights as the full `frames x size x size` kernel.

    Source: Tran et al., A closer look at spatiotemporal convolutions for action recognition, section 3.5.
    """
    area = size * size
    return frames * area * channels * out_channels // (area * channels + frames * out_channels)


class PaddedShortcut(nn.Module):
    """Shortcut type A: every `stride`-th position, zeros for the new channels; no weights."""

    def __init__(self, channels: int, out_channels: int, stride: Stride) -> None:
        super().__init__()
        self.new, self.stride = out_channels - channels, stride

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T' H' W'."""
        t, s = self.stride
        return F.pad(x[:, :, ::t, ::s, ::s], (0, 0, 0, 0, 0, 0, 0, self.new))


class Block(nn.Module):
    """The common part of both kinds of blocks: the shortcut and the placement of SRTG.

    Args:
        channels: input channels of the block.
        inner: channels between its convolutions.
        out_channels: output channels of the block.
        stride: strides in time and in space.
        design: design of the network.
    """

    kind: str
    placements: tuple[Placement, ...]

    def __init__(self, channels: int, inner: int, out_channels: int, stride: Stride, design: R3DDesign) -> None:
        super().__init__()
        self.placement = design.placement
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != (1, 1) or channels != out_channels:
            if design.shortcut == "A":
                self.downsample = PaddedShortcut(channels, out_channels, stride)
            else:
                self.downsample = nn.Sequential(
                    Conv3d(channels, out_channels, 1, _three(stride), bias=False), nn.BatchNorm3d(out_channels)
                )
        if design.recursion is not None:
            if self.placement not in self.placements:
                raise unknown(f"placement in a {self.kind}", str(self.placement), self.placements)
            widths = {"start": channels, "top": inner, "mid": inner}
            self.srtg = design.recursion(widths.get(str(self.placement), out_channels))

    def at(self, placement: Placement, x: Tensor) -> Tensor:
        """Applies Squeeze and Recursion if it is at this place of the block."""
        return self.srtg(x) if placement == self.placement else x

    def add_shortcut(self, y: Tensor, x: Tensor) -> Tensor:
        """Ends a block: `y` (overwritten) plus the shortcut of the block's input, ReLU."""
        shortcut = self.at("res", x if self.downsample is None else self.downsample(x))
        return self.at("final", self.relu(y.add_(shortcut)))


class BasicBlock(Block):
    """Two 3x3x3 convolutions (depth 34), called "simple" in the paper; N C T H W -> N C' T' H' W'."""

    kind = "simple block (depth 34)"
    placements = ("start", "mid", "res", "final")

    def __init__(self, channels: int, planes: int, stride: Stride, design: R3DDesign) -> None:
        super().__init__(channels, planes, planes, stride, design)
        middle = planes if design.middle == "inner" else middle_channels(channels, planes)
        self.conv1 = design.convolution(channels, planes, middle, stride)
        self.bn1 = nn.BatchNorm3d(planes)
        if design.middle in ("convolution", "vmz"):
            middle = middle_channels(planes, planes)
        self.conv2 = design.convolution(planes, planes, middle)
        self.bn2 = nn.BatchNorm3d(planes)
        nn.init.constant_(self.bn2.weight, design.residual_init)

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T' H' W'."""
        x = self.at("start", x)
        y = self.at("mid", self.relu(self.bn1(self.conv1(x))))
        return self.add_shortcut(self.bn2(self.conv2(y)), x)


class Bottleneck(Block):
    """1x1x1, 3x3x3, 1x1x1 (depth 50 and more); N C T H W -> N C' T' H' W'."""

    kind = "bottleneck block"
    placements = ("start", "top", "mid", "end", "res", "final")

    def __init__(self, channels: int, planes: int, stride: Stride, design: R3DDesign) -> None:
        inner, out_channels = planes * design.widening, planes * design.expansion
        super().__init__(channels, inner, out_channels, stride, design)
        if design.middle == "inner":
            middle = inner
        elif design.middle in ("convolution", "vmz"):
            middle = middle_channels(inner, inner)
        else:
            middle = middle_channels(channels, planes) * design.widening
        self.conv1 = Conv3d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(inner)
        self.conv2 = design.convolution(inner, inner, middle, stride)
        self.bn2 = nn.BatchNorm3d(inner)
        self.conv3 = Conv3d(inner, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(out_channels)
        nn.init.constant_(self.bn3.weight, design.residual_init)

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T' H' W'."""
        x = self.at("start", x)
        y = self.at("top", self.relu(self.bn1(self.conv1(x))))
        y = self.at("mid", self.relu(self.bn2(self.conv2(y))))
        return self.add_shortcut(self.at("end", self.bn3(self.conv3(y))), x)


class Stem(nn.Sequential):
    """7x7 convolution over a few frames with stride 2 in space, max pooling with stride 2 in time and space."""

    def __init__(self, channels: int, width: float, design: R3DDesign) -> None:
        super().__init__()
        t = design.stem_frames
        if design.factorised and design.middle != "inner":
            # The authors' 45 follows from none of the formulas of the blocks.
            each = design.middle == "convolution"
            middle = middle_channels(3, channels, t, 7) if each else max(1, round(45 * width))
            self.conv: nn.Module = Conv2Plus1D(3, channels, middle, (t, 7), (1, 2))
        else:
            self.conv = Conv3d(3, channels, (t, 7, 7), (1, 2, 2), (t // 2, 3, 3), bias=False)
        self.bn = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace=True)
        if design.max_pool:
            self.pool = nn.MaxPool3d(3, 2, 1)
