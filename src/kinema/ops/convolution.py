"""The 3-D convolution as PyTorch has it, but fast for a single clip on a CPU, and right there in bfloat16."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.ops.precision import full_precision


class Conv3d(nn.Conv3d):
    """`nn.Conv3d` that asks for oneDNN by name where PyTorch would not choose it.

    For one small float32 clip (N = 1, C T H up to 20480) PyTorch takes its plain implementation, several times slower
    than the one it takes for two; `benchmarks/single_clip.py` says by how much. Same numbers to rounding, same
    gradients. Operations on real CPU tensors then escape `FlopCounterMode`; on the meta device it sees them all.
    Where `fails_in_bfloat16`, it computes in float32.
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
        if fails_in_bfloat16(x, weight):
            with full_precision(x):
                y = super()._conv_forward(x.float(), weight.float(), None if bias is None else bias.float())
            return y.to(torch.bfloat16)
        return super()._conv_forward(x, weight, bias)


def conv3d(x: Tensor, weight: Tensor, padding: int, groups: int = 1) -> Tensor:
    """`F.conv3d` padded in time, without bias, in float32 where `fails_in_bfloat16`; N C T H W -> N C' T' H W."""
    if fails_in_bfloat16(x, weight):
        with full_precision(x):
            y = F.conv3d(x.float(), weight.float(), padding=(padding, 0, 0), groups=groups)
        return y.to(torch.bfloat16)
    return F.conv3d(x, weight, padding=(padding, 0, 0), groups=groups)


def fails_in_bfloat16(x: Tensor, weight: Tensor) -> bool:
    """Whether a 3-D convolution would come to a wrong gradient of its weights.

    On a CPU, in bfloat16, for clips of 2 frames under a padded kernel of 3 (in general for few frames under a long
    kernel, and for maps of a few pixels), oneDNN in PyTorch 2.13 returns memory that it has not written, and may write
    where it must not. The result itself and the gradient of the clip are right, as all are in float32.

    Args:
        x: N C T H W.
        weight: C' C K K K.
    """
    short = 1 < x.shape[2] <= weight.shape[2]
    small = any(1 < k >= size for k, size in zip(weight.shape[3:], x.shape[3:], strict=True))
    if x.device.type != "cpu" or not (short or small):
        return False
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return dtype == torch.bfloat16 and weight.requires_grad and torch.is_grad_enabled()
