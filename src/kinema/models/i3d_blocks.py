"""Blocks of inflated ResNets (R2D, I3D, SlowOnly, SlowFast): bottlenecks whose first convolution may cover time."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from kinema.models.checkpointing import Stack
from kinema.ops.conv import Conv3d
from kinema.ops.layout import fold_time, unfold_time

LAYERS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
EXPANSION = 4


class Bottleneck(nn.Module):
    """Kx1x1, 1x3x3 with the stride, 1x1x1; N C T H W -> N C' T H' W'.

    Args:
        channels: C.
        inner: channels between the convolutions; C' is four times as many.
        stride: stride in height and width.
        kernel_size: K, the number of frames that the first convolution covers.
        non_local: the layer after the block, if any.
    """

    def __init__(
        self, channels: int, inner: int, stride: int, kernel_size: int, non_local: nn.Module | None = None
    ) -> None:
        super().__init__()
        out_channels, step = inner * EXPANSION, (1, stride, stride)
        self.conv1 = Conv3d(channels, inner, 1, bias=False)
        if kernel_size > 1:  # built in addition, so that seeded weights stay those of the measured tables
            self.conv1 = Conv3d(channels, inner, (kernel_size, 1, 1), 1, (kernel_size // 2, 0, 0), bias=False)
        self.conv2 = Conv3d(inner, inner, (1, 3, 3), step, (0, 1, 1), bias=False)
        self.conv3 = Conv3d(inner, out_channels, 1, bias=False)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm3d(inner), nn.BatchNorm3d(inner), nn.BatchNorm3d(out_channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out_channels:
            self.downsample = nn.Sequential(
                Conv3d(channels, out_channels, 1, step, bias=False), nn.BatchNorm3d(out_channels)
            )
        self.relu = nn.ReLU(inplace=True)
        self.non_local = non_local

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T H' W'."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y = self.relu(y.add_(x if self.downsample is None else self.downsample(x)))
        return y if self.non_local is None else self.non_local(y)


class FramePool(nn.Module):
    """Max pooling of 3x3 pixels with stride 2, of every `step`-th frame; N C T H W -> N C T' H/2 W/2.

    Args:
        step: stride in time.
        padded: pad the frame by one pixel on each side; otherwise frames with an even side become one pixel smaller.
    """

    def __init__(self, step: int, padded: bool = True) -> None:
        super().__init__()
        self.step, self.padded = step, padded

    def forward(self, x: Tensor) -> Tensor:
        """Sizes are rounded up."""
        x = x[:, :, :: self.step]
        return unfold_time(F.max_pool2d(fold_time(x), 3, 2, int(self.padded)), x.shape[2])


class Stem(nn.Sequential):
    """Kx7x7 convolution and max pooling, both with stride 2 in space; N 3 T H W -> N C T/step^2 H/4 W/4, rounded up.

    Args:
        channels: C.
        kernel_size: K.
        step: stride in time of the convolution and of the pooling.
        padded: padding of the pooling, see `FramePool`.
    """

    def __init__(self, channels: int, kernel_size: int, step: int = 1, padded: bool = True) -> None:
        super().__init__()
        self.conv = Conv3d(3, channels, (1, 7, 7), (step, 2, 2), (0, 3, 3), bias=False)
        if kernel_size > 1:  # as in `Bottleneck`
            self.conv = Conv3d(3, channels, (kernel_size, 7, 7), (step, 2, 2), (kernel_size // 2, 3, 3), bias=False)
        self.bn = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool = FramePool(step, padded)


class Stage(Stack):
    """Blocks at one resolution; N C T H W -> N C' T H' W', with `halve_time` the maximum of every two frames of it.

    A last odd frame is dropped; a single frame stays.
    """

    def __init__(self, *blocks: nn.Module, halve_time: bool = False) -> None:
        super().__init__(*blocks)
        self.halve_time = halve_time

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        """N C T H W -> N C' T' H' W'."""
        x = super().forward(x, *args)
        frames = x.shape[2] // 2 * 2
        return x[:, :, :frames:2].maximum(x[:, :, 1:frames:2]) if self.halve_time and frames else x
