"""Parts of 2-D ResNets on frames: stem, stages, blocks, and the modules that replace their 3x3 convolutions.

Blocks work on `(N T) C H W`, the modules inside them on `N C T H W`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kinema.models.checkpointing import Stack
from kinema.ops.conv import Conv2d
from kinema.ops.layout import fold_time, unfold_time
from kinema.ops.shift import Shift
from kinema.ops.stm import CMM, CSTM
from kinema.ops.streaming import Stream
from kinema.ops.tam import TAM
from kinema.ops.tea import MTA, MotionExcitation

Fuse = Literal["sum", "concat"]
# (channels, out channels, stride, stage 2..5, block of the stage) -> replacement of a 3x3, N C T H W -> same
Conv = Callable[[int, int, int, int, int], "Core"]


GROUPS = 4  # groups of channels in a block of TEA


class FrameConv(Conv2d):
    """The plain 3x3 convolution of each frame, N C T H W -> N C' T H' W'."""

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(channels, out_channels, 3, stride, 1, bias=False)

    look_ahead = 0

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Applies the convolution to each frame separately."""
        return unfold_time(super().forward(fold_time(x)), x.shape[2])


class Sum(nn.Module):
    """CSTM (or the plain 3x3) and CMM in parallel, summed, or concatenated and mixed by a 1x1 convolution."""

    def __init__(self, spatial: FrameConv | CSTM, cmm: CMM, out_channels: int, fuse: Fuse) -> None:
        super().__init__()
        self.cstm = spatial
        self.cmm = cmm
        self.mix = Conv2d(2 * out_channels, out_channels, 1, bias=False) if fuse == "concat" else None

    @property
    def look_ahead(self) -> int:
        """Number of later frames that it uses."""
        return self.cmm.look_ahead

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """N C T H W -> N C' T H' W'."""
        if stream is None:
            spatial, motion = self.cstm(x), self.cmm(x)
        else:
            spatial, lag = self.cstm(x, stream), stream.lag
            spatial = stream.delayed(self, spatial, self.look_ahead - self.cstm.look_ahead)
            stream.lag = lag - self.cstm.look_ahead  # in parallel, not in sequence
            motion = self.cmm(x, stream)
        if self.mix is None:
            return spatial.add_(motion)  # a new tensor that the backward pass does not need
        return unfold_time(self.mix(fold_time(torch.cat([spatial, motion], 1))), x.shape[2])


class Adapted(nn.Module):
    """The temporal adaptive module and the plain 3x3 convolution after it; N C T H W -> N C' T H' W'."""

    look_ahead = 0

    def __init__(self, tam: TAM, conv: FrameConv) -> None:
        super().__init__()
        self.tam, self.conv = tam, conv

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """N C T H W -> N C' T H' W'; needs the whole clip, so it is never used in a stream."""
        return self.conv(self.tam(x))


Core = FrameConv | CSTM | Sum | Adapted  # possible replacements of a 3x3 convolution


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (ResNet-18 and -34); works on `(N T) C H W` with T given."""

    expansion = 1

    def __init__(self, channels: int, inner: int, stride: int, shift: Shift | None, convs: tuple[Core, ...]):
        super().__init__()
        self.shift = shift
        self.conv1, self.conv2 = convs
        self.bn1, self.bn2 = nn.BatchNorm2d(inner), nn.BatchNorm2d(inner)
        self.downsample = projection(channels, inner, stride)
        self.relu = nn.ReLU(inplace=True)

    @property
    def look_ahead(self) -> int:
        """Number of frames by which its output is delayed in a stream."""
        shift = 0 if self.shift is None else self.shift.look_ahead
        return shift + self.conv1.look_ahead + self.conv2.look_ahead

    def forward(self, x: Tensor, frames: int, stream: Stream | None = None) -> Tensor:
        """(N T) C H W -> (N T) C' H' W'."""
        clip = unfold_time(x, frames)
        y = through(self.conv1, clip if self.shift is None else through(self.shift, clip, stream), stream)
        y = self.relu(self.bn1(fold_time(y)))
        y = self.bn2(fold_time(through(self.conv2, unfold_time(y, frames), stream)))
        return self.relu(y.add_(shortcut(self, x, frames, stream)))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 (ResNet-50); works on `(N T) C H W` with T given."""

    expansion = 4

    def __init__(self, channels: int, inner: int, stride: int, shift: Shift | None, convs: tuple[Core, ...]):
        super().__init__()
        self.shift = shift
        self.conv1 = Conv2d(channels, inner, 1, bias=False)
        (self.conv2,) = convs
        self.conv3 = Conv2d(inner, inner * 4, 1, bias=False)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm2d(inner), nn.BatchNorm2d(inner), nn.BatchNorm2d(inner * 4)
        self.downsample = projection(channels, inner * 4, stride)
        self.relu = nn.ReLU(inplace=True)

    @property
    def look_ahead(self) -> int:
        """Number of frames by which its output is delayed in a stream."""
        return (0 if self.shift is None else self.shift.look_ahead) + self.conv2.look_ahead

    def forward(self, x: Tensor, frames: int, stream: Stream | None = None) -> Tensor:
        """(N T) C H W -> (N T) C' H' W'."""
        y = x if self.shift is None else fold_time(through(self.shift, unfold_time(x, frames), stream))
        y = self.relu(self.bn1(self.conv1(y)))
        y = self.relu(self.bn2(fold_time(through(self.conv2, unfold_time(y, frames), stream))))
        y = self.bn3(self.conv3(y))
        return self.relu(y.add_(shortcut(self, x, frames, stream)))


class TEABlock(nn.Module):
    """1x1, motion excitation, multiple temporal aggregation, 1x1; works on `(N T) C H W` with T given.

    Args:
        channels: input channels of the block.
        inner: inner channels of the ResNet's block; here 26 / 64 of them, four times, as in Res2Net-50 26w x 4s.
        stride: stride of the 3x3 convolutions.
        first: True for the first block of its stage.
        excited: use motion excitation.
        temporal: use the temporal convolutions.
    """

    expansion = 4
    look_ahead = 0

    def __init__(self, channels: int, inner: int, stride: int, *, first: bool, excited: bool, temporal: bool) -> None:
        super().__init__()
        wide = GROUPS * max(1, inner * 26 // 64)
        self.conv1 = Conv2d(channels, wide, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.me = MotionExcitation(wide) if excited else nn.Identity()
        self.mta = MTA(wide, stride, groups=GROUPS, chained=not first, temporal=temporal)
        self.conv3 = Conv2d(wide, inner * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(inner * 4)
        self.downsample = projection(channels, inner * 4, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, frames: int, stream: Stream | None = None) -> Tensor:
        """(N T) C H W -> (N T) C' H' W'; in a stream only without modules that use other frames."""
        y = unfold_time(self.relu(self.bn1(self.conv1(x))), frames)
        y = self.bn3(self.conv3(fold_time(self.mta(self.me(y)))))
        return self.relu(y.add_(x if self.downsample is None else self.downsample(x)))


def through(module: nn.Module, x: Tensor, stream: Stream | None) -> Tensor:
    """Calls an operator; without a stream, it need not support streams; N C T H W -> N C' T H' W'."""
    y: Tensor = module(x) if stream is None else module(x, stream)
    return y


def shortcut(block: BasicBlock | Bottleneck, x: Tensor, frames: int, stream: Stream | None) -> Tensor:
    """Returns the summand at the end of a block; in a stream it is delayed as much as the residual branch."""
    if stream is not None and block.look_ahead:
        x = fold_time(stream.delayed(block, unfold_time(x, frames), block.look_ahead))
    return x if block.downsample is None else block.downsample(x)


def projection(channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """Returns the shortcut of a block that changes size; None is the identity."""
    if stride == 1 and channels == out_channels:
        return None
    return nn.Sequential(Conv2d(channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class Stem(nn.Sequential):
    """7x7 convolution and max pooling, both with stride 2; N 3 T H W -> N C T H/4 W/4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(3, channels, 7, 2, 3, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Applies the stem to each frame separately."""
        return unfold_time(super().forward(fold_time(x)), x.shape[2])


class Stage(Stack):
    """Residual blocks at one resolution; N C T H W -> N C' T H' W'."""

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        """Folds time into the batch once for all blocks."""
        frames = x.shape[2]
        return unfold_time(super().forward(fold_time(x), frames, *args), frames)
