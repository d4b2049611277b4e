"""3-D convolutions with a kernel of one pixel over several frames, for which one CPU thread has a fast way too."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kinema.ops.convolution import Conv3d


class TimeConv3d(Conv3d):
    """`Conv3d` with a kernel of Kx1x1, K odd, padded by half: the same weights, names and results.

    With one thread (Ray gives its workers one) PyTorch computes such a kernel, and its gradients, by a plain
    implementation that is several times slower than oneDNN's. A 2-D convolution over frames and all positions
    `N C T (H W)` goes to oneDNN, and in `channels_last_3d` memory nothing has to be moved for it.

    Args:
        channels: C.
        out_channels: C'.
        taps: K.
        stride: of time.
    """

    def __init__(self, channels: int, out_channels: int, taps: int, stride: int = 1) -> None:
        super().__init__(channels, out_channels, (taps, 1, 1), (stride, 1, 1), (taps // 2, 0, 0), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T' H W, T' = ceil(T / stride)."""
        if torch.compiler.is_compiling() or x.device.type != "cpu" or torch.get_num_threads() > 1:
            return super().forward(x)
        n, _, t, h, w = x.shape
        # contiguous for clips in another layout; a view of channels-last ones
        rows = x.permute(0, 2, 3, 4, 1).reshape(n, t, h * w, -1).permute(0, 3, 1, 2)
        y = F.conv2d(rows, self.weight.squeeze(4), None, (int(self.stride[0]), 1), (int(self.padding[0]), 0))
        return y.permute(0, 2, 3, 1).unflatten(2, (h, w)).permute(0, 4, 1, 2, 3)
