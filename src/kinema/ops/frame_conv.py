"""3-D convolutions with a kernel of one frame, computed frame by frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.ops.conv import pick_pixels
from kinema.ops.layout import fold_time, unfold_time


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
        if weight.shape[2:] == (1, 1):  # as Conv2d
            y = F.conv2d(pick_pixels(frames, *self.stride[1:]), weight, self.bias)
        else:
            y = F.conv2d(frames, weight, self.bias, self.stride[1:], self.padding[1:])
        return unfold_time(y, x.shape[2])
