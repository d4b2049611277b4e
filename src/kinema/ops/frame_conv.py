"""3-D convolutions with a kernel of one frame, computed frame by frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.ops.layout import fold_time, unfold_time


class PointwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` with a kernel of 1x1 and no bias, whose stride picks pixels before it is computed.

    The gradient of a strided one is wrong on a CPU, or crashes: for fewer channels than a vector holds, oneDNN writes
    past its memory (oneDNN issue 6035; seen with PyTorch 2.13 and 8 channels). Same weights, names and results.

    Args:
        channels: C.
        out_channels: C'.
        stride: of height and width.
    """

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C' H' W'."""
        return F.conv2d(_every(x, *self.stride), self.weight)


class FrameConv3d(nn.Conv3d):
    """`nn.Conv3d` with a kernel of 1xKxK, padded by K // 2: the same weights, names and results.

    On a CPU PyTorch gives a 3-D convolution of a single small clip to a kernel that is slow and leaves channels-last
    memory, so that everything after it is slower too; frames are many, and it does not do that to a 2-D one.

    Args:
        channels: C.
        out_channels: C'.
        size: K.
        stride: of time, height and width.
        bias: as `nn.Conv3d`.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        size: int = 1,
        stride: tuple[int, int, int] = (1, 1, 1),
        *,
        bias: bool = False,
    ) -> None:
        super().__init__(channels, out_channels, (1, size, size), stride, (0, size // 2, size // 2), bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T' H' W'."""
        step = int(self.stride[0])
        if step > 1:
            x = x[:, :, ::step].contiguous(memory_format=torch.channels_last_3d)
        frames, weight = fold_time(x), self.weight.squeeze(2)
        if weight.shape[2:] == (1, 1):  # as PointwiseConv2d
            y = F.conv2d(_every(frames, *self.stride[1:]), weight, self.bias)
        else:
            y = F.conv2d(frames, weight, self.bias, self.stride[1:], self.padding[1:])
        return unfold_time(y, x.shape[2])


def _every(x: Tensor, down: int, right: int) -> Tensor:
    """Every `down`-th row and `right`-th column of N C H W, in channels-last memory if there is less than all."""
    if down == right == 1:
        return x
    return x[:, :, ::down, ::right].contiguous(memory_format=torch.channels_last)
