"""Kernels of 2-D convolutions in the memory layout of oneDNN.

PyTorch changes the layout of a kernel at every call. For one frame with many channels, this takes longer than the
convolution.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class PackedKernel:
    """The kernel of one convolution, converted at the first call for the input size of that call.

    Inputs of other sizes give correct results, but more slowly. The weights must not change after the first call.

    Args:
        conv: convolution in float32, on the CPU, padded with zeros.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        self._how = [[int(n) for n in of] for of in (conv.padding, conv.stride, conv.dilation)]
        self._groups = conv.groups
        self._kernel: Tensor | None = None

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """N C H W -> N C' H' W', without gradients."""
        if self._kernel is None:
            dense = weight.detach().to_mkldnn()
            lay_out: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
            self._kernel = lay_out(dense, *self._how, self._groups, list(x.shape))
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._kernel, bias, *self._how, self._groups, "none", [], ""
        )
        return found


def packs(conv: nn.Conv2d) -> bool:
    """True if `PackedKernel` supports a convolution."""
    plain = conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    return plain and conv.weight.dtype == torch.float32 and conv.weight.device.type == "cpu"


def no_packing() -> str | None:
    """Returns why kernels cannot be packed with this PyTorch; None if they can."""
    there = torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
    operations = hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    return None if there and operations else "this PyTorch has no oneDNN"
