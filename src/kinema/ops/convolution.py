"""The 3-D convolution as PyTorch has it, but fast for a single clip on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Conv3d(nn.Conv3d):
    """`nn.Conv3d` that asks for oneDNN by name where PyTorch would not choose it.

    For one small float32 clip (N = 1, C T H up to 20480) PyTorch takes its plain implementation, several times slower
    than the one it takes for two; `benchmarks/single_clip.py` says by how much. Same numbers to rounding, same
    gradients. Operations on real CPU tensors then escape `FlopCounterMode`; on the meta device it sees them all.
    """

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if (
            not torch.compiler.is_compiling()  # first: a compiler cannot trace the questions about oneDNN
            and x.shape[0] == 1
            and x.device.type == "cpu"
            and x.dtype == weight.dtype == torch.float32
            and self.groups == 1  # grouped ones go to oneDNN anyway
            and self.padding_mode == "zeros"
            and not isinstance(self.padding, str)
            and torch.backends.mkldnn.enabled
            and torch.backends.mkldnn.is_available()
            and not torch.is_autocast_enabled("cpu")
        ):
            return torch.mkldnn_convolution(x, weight, bias, self.padding, self.stride, self.dilation, self.groups)
        return super()._conv_forward(x, weight, bias)
