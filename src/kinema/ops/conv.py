"""The 2-D convolution that networks place on folded frames: `nn.Conv2d`, but right for strided 1x1 kernels on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` whose stride picks pixels before a 1x1 kernel is computed; same arguments, weights and results.

    The gradient of a strided 1x1 is wrong on a CPU, or crashes: for fewer channels than a vector holds, oneDNN writes
    past its memory (oneDNN issue 6035; seen with PyTorch 2.13 and 8 channels).
    """

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.kernel_size == (1, 1) and self.padding in ((0, 0), "valid"):
            return nn.functional.conv2d(pick_pixels(x, *self.stride), weight, bias, groups=self.groups)
        return super()._conv_forward(x, weight, bias)


def pick_pixels(x: Tensor, down: int, right: int) -> Tensor:
    """Every `down`-th row and `right`-th column of N C H W, in channels-last memory if there is less than all."""
    if down == right == 1:
        return x
    return x[:, :, ::down, ::right].contiguous(memory_format=torch.channels_last)
