"""Residual blocks of multi-temporal convolutions, on one clip or on the two streams of the octave split."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.ops.mtconv import ConvNorm, MTConv
from kinema.ops.recurrence import Cell, recurrent

# The short stream at full size and the long one at half the size, N C T H W each; no long one where delta is 1.
Streams = tuple[Tensor, Tensor | None]


class MTBlock(nn.Module):
    """Convolutions in a row, Squeeze and Recursion on what they give, the shortcut, ReLU; N C T H W -> N C' T' H' W'.

    Args:
        convs: of the residual branch.
        recursion: Squeeze and Recursion, or `nn.Identity`.
        shortcut: a projection, or `nn.Identity`.

    Source: MTConv, figure 2.
    """

    def __init__(self, convs: Sequence[nn.Module], recursion: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.recursion = recursion
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T' H' W'."""
        y = x
        for conv in self.convs:
            y = conv(y)
        return torch.relu(self.recursion(y) + self.shortcut(x))


class OctaveBlock(MTBlock):
    """The same on two streams: every part takes and gives both."""

    def forward(self, streams: Streams) -> Streams:  # type: ignore[override]
        """Two streams -> two streams."""
        found = streams
        for conv in self.convs:
            found = conv.streams(*found) if isinstance(conv, MTConv) else conv(found)
        short, long = self.recursion(found)
        short_cut, long_cut = self.shortcut(streams)
        return torch.relu(short + short_cut), None if long is None or long_cut is None else torch.relu(long + long_cut)


class OctaveStage(nn.Module):
    """Blocks in a row; its two outputs pass through modules of their own, so that a hook finds tensors there.

    Args:
        blocks: the blocks.
        two: there is a long stream.

    Attributes:
        streams: the names of those modules.
    """

    def __init__(self, blocks: Sequence[MTBlock], two: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.short = nn.Identity()
        self.streams: tuple[str, ...] = ("short",)
        if two:
            self.long = nn.Identity()
            self.streams = ("short", "long")

    def forward(self, streams: Streams) -> Streams:
        """Streams -> streams."""
        short, long = self.blocks(streams)
        return self.short(short), None if long is None else self.long(long)


class PerStream(nn.Module):
    """A module for each of two streams; streams -> streams."""

    def __init__(self, short: nn.Module, long: nn.Module | None) -> None:
        super().__init__()
        self.short, self.long = short, long

    def forward(self, streams: Streams) -> Streams:
        """Each stream by itself."""
        short, long = streams
        return self.short(short), None if long is None or self.long is None else self.long(long)


class StreamRecursion(nn.Module):
    """Squeeze and Recursion over two streams: one stack of cells sees the channels of both; streams -> streams.

    The long stream's means are stretched to the frames of the short one, its part of the states is shrunk back.

    Args:
        channels: of the short and of the long stream.
        cell: see `kinema.ops.recurrent`.
        layers: stacked cells.
    """

    def __init__(self, channels: tuple[int, int], cell: Cell, layers: int) -> None:
        super().__init__()
        self.channels = channels
        self.recurrence = recurrent(cell, sum(channels), layers)

    def forward(self, streams: Streams) -> Streams:
        """Multiplies every frame of both streams by its states."""
        short, long = streams
        squeezed = _spatial_mean(short)
        if long is not None:
            of_long = F.interpolate(_spatial_mean(long), short.shape[2], mode="linear", align_corners=False)
            squeezed = torch.cat([squeezed, of_long], 1)
        of_short, of_long = self.recurrence(squeezed).split(self.channels, 1)
        short = short * of_short.to(short.dtype)[..., None, None]
        if long is None:
            return short, None
        of_long = F.interpolate(of_long, long.shape[2], mode="linear", align_corners=False)
        return short, long * of_long.to(long.dtype)[..., None, None]


def projection(channels: int, out_channels: int, stride: tuple[int, int, int]) -> nn.Module:
    """The shortcut of a block: the identity where nothing changes, else a strided pointwise convolution, BatchNorm."""
    if stride == (1, 1, 1) and channels == out_channels:
        return nn.Identity()
    return ConvNorm(channels, out_channels, (1, 1, 1), stride, relu=False)


def _spatial_mean(x: Tensor) -> Tensor:
    """N C T H W -> N C T, at least float32."""
    return x.mean((3, 4), dtype=torch.promote_types(x.dtype, torch.float32))
