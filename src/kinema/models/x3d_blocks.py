"""The stem, head and squeeze-and-excitation of X3D, which MTNet also uses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kinema.ops.conv import Conv3d
from kinema.ops.precision import mean


class X3DStem(nn.Module):
    """A 1x3x3 convolution with stride 2 in space, a channel-wise 5x1x1, BatchNorm and ReLU; N 3 T H W -> N C T H/2 W/2.

    Source: Feichtenhofer, X3D, CVPR 2020, table 1.

    Args:
        channels: C.
        temporal: include the 5x1x1.
    """

    def __init__(self, channels: int, temporal: bool = True) -> None:
        super().__init__()
        self.spatial = Conv3d(3, channels, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        self.temporal: nn.Module = nn.Identity()
        if temporal:
            self.temporal = Conv3d(channels, channels, (5, 1, 1), 1, (2, 0, 0), groups=channels, bias=False)
        self.norm = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """N 3 T H W -> N C T H/2 W/2, rounded up."""
        return self.relu(self.norm(self.temporal(self.spatial(x))))


class X3DHead(nn.Module):
    """Pointwise convolution, BatchNorm, ReLU, mean over the clip, pointwise convolution, ReLU; N C T H W -> N F.

    Args:
        channels: C.
        inner: channels between the two convolutions.
        features: F.

    Source: Feichtenhofer, X3D, CVPR 2020, table 1 (conv5, pool5, fc1).
    """

    def __init__(self, channels: int, inner: int, features: int) -> None:
        super().__init__()
        self.conv = Conv3d(channels, inner, 1, bias=False)
        self.norm = nn.BatchNorm3d(inner)
        self.relu = nn.ReLU(inplace=True)
        self.expand = Conv3d(inner, features, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N F, the input of the classifier."""
        x = self.relu(self.norm(self.conv(x)))
        x = mean(x, (2, 3, 4), keepdim=True)
        return self.relu(self.expand(x)).flatten(1)

    def maps(self, x: Tensor) -> Tensor:
        """N C T H W -> N F T H W: the head at every position separately, for explanations, without averaging."""
        return self.relu(self.expand(self.relu(self.norm(self.conv(x)))))


class SqueezeExcitation(nn.Module):
    """Scales every channel by a number in (0, 1) that depends on the means of all channels; N C T H W -> the same.

    Args:
        channels: C.
        ratio: ratio of the width between its two layers to C; rounded to a multiple of 8 as in X3D's release.

    Source: Hu et al., Squeeze-and-Excitation Networks, CVPR 2018.
    """

    def __init__(self, channels: int, ratio: float = 1 / 16) -> None:
        super().__init__()
        inner = multiple_of_8(channels * ratio)
        self.reduce = Conv3d(channels, inner, 1)
        self.restore = Conv3d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> the same."""
        squeezed = mean(x, (2, 3, 4), keepdim=True)
        return x * torch.sigmoid(self.restore(torch.relu(self.reduce(squeezed))))


def multiple_of_8(width: float) -> int:
    """Returns the nearest multiple of 8, at least 8, and never more than a tenth below `width`."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded
