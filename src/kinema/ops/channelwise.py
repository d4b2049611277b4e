"""The channel-wise 3-D convolution, with gradients that a CPU computes in a fraction of PyTorch's time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from kinema.ops.convolution import Conv3d
from kinema.ops.layout import fold_time

Size = tuple[int, int, int]


class ChannelwiseConv3d(Conv3d):
    """`Conv3d` with as many groups as channels and odd kernels, padded by half: the same weights, names and results.

    PyTorch's forward pass is fast on a CPU when the clip lies in `channels_last_3d` memory, its gradients are not
    (`benchmarks/depthwise_layout.py` states by how much). For float32 clips on a CPU, the gradient of the input is
    therefore the forward pass with mirrored kernels, that of the weights a 2-D one for each frame of the kernel, and
    kernels of Kx1x1 are 2-D convolutions over time and all positions. Elsewhere this is `Conv3d`.

    Args:
        channels: C.
        kernel: in time, height and width, odd.
        stride: likewise.
    """

    def __init__(self, channels: int, kernel: Size, stride: Size = (1, 1, 1)) -> None:
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        super().__init__(channels, channels, kernel, stride, padding, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C T' H' W'."""
        if not _plain_on_cpu(x, self.weight):
            return super().forward(x)
        if tuple(self.kernel_size[1:]) == (1, 1) and tuple(self.stride) == (1, 1, 1):
            return _over_time(x, self.weight)
        if torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad):
            return _Channelwise.apply(x, self.weight, tuple(self.stride))
        return super().forward(x)


class _Channelwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Size) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv3d(x, weight, None, stride, _half(weight), 1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        x = x.contiguous(memory_format=torch.channels_last_3d)  # part of the channels of a clip is not
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            if ctx.stride == (1, 1, 1):
                of_x = F.conv3d(gradient, weight.flip(2, 3, 4), None, 1, _half(weight), 1, len(weight))
            else:
                of_x = _backward(gradient, x, weight, ctx.stride, _half(weight), (True, False, False))[0]
        if ctx.needs_input_grad[1]:
            if ctx.stride[0] == 1:
                of_weight = _of_weight(gradient, x, weight, ctx.stride[1:])
            else:
                of_weight = _backward(gradient, x, weight, ctx.stride, _half(weight), (False, True, False))[1]
        return of_x, of_weight, None


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, ...]) -> Tensor:
    """For each frame of the kernel, the gradient of a 2-D convolution between frames and those it looked at.

    Those are equally far apart in the whole batch, so that both are slices of all frames; frames of the gradient that
    would meet another clip are set to zero.
    """
    n, _, t = x.shape[:3]
    source, found = fold_time(x), []
    for i in range(weight.shape[2]):
        later = i - weight.shape[2] // 2
        count = n * t - abs(later)
        if count <= 0:
            found.append(torch.zeros_like(weight[:, :, i]))
            continue
        met = gradient
        if later and n > 1:
            met = gradient.clone()
            outside = slice(max(0, t - later), t) if later > 0 else slice(0, -later)
            met[:, :, outside] = 0
        first, other = max(0, -later), max(0, later)
        pair = fold_time(met)[first : first + count], source[other : other + count]
        found.append(_backward(*pair, weight[:, :, i], stride, _half(weight)[1:], (False, True, False))[1])
    return torch.stack(found, 2)


def _over_time(x: Tensor, weight: Tensor) -> Tensor:
    """A Kx1x1 kernel as a 2-D one of Kx1 on `N C T (H W)`."""
    n, c, t, h, w = x.shape
    rows = x.permute(0, 2, 3, 4, 1).reshape(n, t, h * w, c).permute(0, 3, 1, 2)
    y = F.conv2d(rows, weight.squeeze(4), None, 1, (weight.shape[2] // 2, 0), 1, c)
    return y.permute(0, 2, 3, 1).reshape(n, t, h, w, c).permute(0, 4, 1, 2, 3)


def _backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    wanted: tuple[bool, ...],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of a channel-wise convolution in 2 or 3 dimensions: of the input, the weights and the bias."""
    ones, zeros = [1] * len(stride), [0] * len(stride)
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, ones, False, zeros, len(weight), wanted
    )  # fmt: skip


def _half(weight: Tensor) -> Size:
    return weight.shape[2] // 2, weight.shape[3] // 2, weight.shape[4] // 2


def _plain_on_cpu(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )
