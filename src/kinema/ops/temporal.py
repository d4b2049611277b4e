"""The channel-wise convolution over time alone, as CSTM has it, several times faster on a CPU than PyTorch's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kinema.ops.convolution import conv3d


def temporal_conv(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """`y[n, c, t] = sum_i weight[c, i] x[n, c, t + i - padding]`, zeros outside the clip, at every position.

    For float32 clips on a CPU, oneDNN is asked by name for the forward pass and for the gradient of the input, which
    is the same with mirrored kernels; PyTorch gives both to slower code for small batches, and gradients always. The
    gradient of the weights is a product and a sum for each tap. Elsewhere this is `conv3d`.

    Args:
        x: N C T H W.
        weight: C 1 taps.
        padding: frames of zeros before and after the clip.

    Returns:
        N C (T + 2 padding - taps + 1) H W.
    """
    kernel = weight[:, :, :, None, None]
    if (
        not torch.compiler.is_compiling()  # first: a compiler cannot trace the questions about oneDNN
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and torch.backends.mkldnn.enabled
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
    ):
        result: Tensor = _TemporalConv.apply(x, kernel, padding)
        return result
    return conv3d(x, kernel, padding, len(weight))


class _TemporalConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.padding = padding
        return _onednn(x, kernel, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, kernel = ctx.saved_tensors
        of_x = of_kernel = None
        taps = kernel.shape[2]
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        if ctx.needs_input_grad[0]:
            of_x = _onednn(gradient, kernel.flip(2), taps - 1 - ctx.padding)
        if ctx.needs_input_grad[1]:
            found = []
            for tap in range(taps):
                offset = tap - ctx.padding  # frame t of the result met frame t + offset of the clip
                first, last = max(0, -offset), min(gradient.shape[2], x.shape[2] - offset)
                met = gradient[:, :, first:last] * x[:, :, first + offset : last + offset]
                found.append(met.sum((0, 2, 3, 4)))
            of_kernel = torch.stack(found, 1).view_as(kernel)
        return of_x, of_kernel, None


def _onednn(x: Tensor, kernel: Tensor, padding: int) -> Tensor:
    return torch.mkldnn_convolution(x, kernel, None, (padding, 0, 0), (1, 1, 1), (1, 1, 1), len(kernel))
