"""Poolings that reduce the input of a prolonged branch: SoftPool, average, maximum, stochastic (MTConv)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import reduce
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from kinema.ops.arguments import Clips, Triple, checked
from kinema.ops.layout import fold_time, unfold_time
from kinema.ops.precision import wide_dtype, widen
from kinema.ops.selection import select_frames

Kernel = tuple[int, int, int]
Index = tuple[slice, ...]
Pooling = Literal["average", "max", "stochastic", "softpool", "average+cosine", "softpool+cosine"]

# Input elements pooled at a time: on a CPU so few that all intermediate results stay in the cache.
_CPU_CHUNK, _CHUNK = 2**18, 2**24
_TO_BITS = math.log2(math.e)
# Exponents up to which the rounding of a_r * log2(e) changes a weight by at most 1e-6 of its value.
_MODERATE = 16.0


@checked
def prolong(x: Clips, pooling: Pooling, training: bool = False) -> Tensor:
    """Halves a clip in time, height and width by one of the methods of table VIc.

    `average`, `max`, `stochastic` and `softpool` pool windows of 2x2x2 (sizes are rounded up). `average+cosine` and
    `softpool+cosine` pool windows of 1x2x2, then keep the T // 2 frames that `select_frames` chooses. Clips of one or
    two frames keep their frames, because there is no choice.

    Args:
        x: N C T H W.
        pooling: one of the six methods.
        training: stochastic pooling draws if True, and averages by its probabilities otherwise.
    """
    if pooling == "average":
        return average_pool(x, (2, 2, 2))
    if pooling == "max":
        return F.max_pool3d(x, 2, ceil_mode=True)
    if pooling == "stochastic":
        return stochastic_pool(x, (2, 2, 2), training)
    if pooling == "softpool":
        return soft_pool(x, (2, 2, 2))
    if pooling == "average+cosine":
        x = average_pool(x)
    else:
        x = soft_pool(x)
    return half_of_frames(x)


def half_of_frames(x: Tensor) -> Tensor:
    """Keeps the T // 2 frames that `select_frames` chooses, of one or two frames all; N C T H W -> N C T' H W."""
    return select_frames(x, x.shape[2] // 2)[0] if x.shape[2] > 2 else x


@checked
def soft_pool(x: Clips, kernel: Triple = (1, 2, 2)) -> Tensor:
    """Computes the mean of each window, weighted by the softmax of its own activations, per channel.

    `out = sum_r softmax(a)_r a_r` over the cells r of a window. Windows do not overlap; a window that exceeds the clip
    uses the cells that exist. The largest activation is subtracted before the exponential, float16 and bfloat16 are
    computed in float32, and nothing is clamped: negative activations stay negative.

    Args:
        x: N C T H W; faster in `channels_last_3d` memory.
        kernel: size of a window in time, height and width.

    Returns:
        N C ceil(T / kt) ceil(H / kh) ceil(W / kw), with the dtype and memory format of `x`.

    Source: MTConv, equation 5; Stergiou et al., Refining activation downsampling with SoftPool.
    """
    if torch.compiler.is_compiling():
        return _soft_pool_traced(x, kernel)
    if x.requires_grad and torch.is_grad_enabled():
        return _SoftPool.apply(x, kernel)
    return _soft_pool(x, kernel)


@checked
def average_pool(x: Clips, kernel: Triple = (1, 2, 2)) -> Tensor:
    """Computes the mean of each window over the cells that exist; shapes as in `soft_pool`."""
    # Space first, then time: the 2-D kernels support channels-last memory and half precision, the 3-D one does not.
    pooled = F.avg_pool2d(fold_time(x), kernel[1:], ceil_mode=True, count_include_pad=False)
    pooled = unfold_time(pooled, x.shape[2])
    if kernel[0] == 1:
        return pooled
    over_time = F.avg_pool2d(pooled.flatten(3), (kernel[0], 1), ceil_mode=True, count_include_pad=False)
    return over_time.unflatten(3, pooled.shape[3:])


@checked
def stochastic_pool(x: Clips, kernel: Triple = (1, 2, 2), training: bool = False) -> Tensor:
    """Draws one cell of each window with a probability proportional to its activation; shapes as in `soft_pool`.

    Outside training it returns the mean under those probabilities. Activations should be non-negative: a negative one
    has probability zero, and in a window without a positive one all cells have the same probability.

    Source: Zeiler and Fergus, Stochastic Pooling for Regularization of Deep Convolutional Neural Networks, ICLR 2013.
    """
    out = torch.empty_like(x[:, :, :: kernel[0], :: kernel[1], :: kernel[2]])
    for source, target, cut in _blocks(x, kernel):
        parts = _cells(x[source], cut)
        weights = [part.detach().to(wide_dtype(x)).clamp_min(1e-30) for part in parts]
        if training:  # the smallest of exponential variables, one per cell, is a draw in proportion to their rates
            first = torch.stack([torch.empty_like(w).exponential_() / w for w in weights]).argmin(0, keepdim=True)
            out[target] = torch.stack(parts).gather(0, first)[0]
        else:
            weighted = sum(w * part for w, part in zip(weights, parts, strict=True))
            out[target] = weighted / reduce(torch.add, weights)
    return out


class _SoftPool(torch.autograd.Function):
    """Stores only its input and output; the weights are recomputed for the gradient, a few frames at a time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Kernel) -> Tensor:
        out = _soft_pool(x, kernel)
        ctx.save_for_backward(x, out)
        ctx.kernel = kernel
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """d out / d a_r = p_r (1 + a_r - out) with p the softmax of the window."""
        x, out = ctx.saved_tensors
        found = torch.empty_like(x)
        for source, target, kernel in _blocks(x, ctx.kernel):
            cells = _windows(x[source], kernel).to(wide_dtype(x))
            exponentials, total = _exponentials(cells)
            scaled = gradient[target] / total
            base = scaled * (1 - out[target].to(scaled.dtype))
            place = _windows(found[source], kernel)
            if place.dtype == cells.dtype:  # without memory for another block
                torch.addcmul(_beside(base), _beside(scaled), cells, out=place).mul_(exponentials)
            else:
                torch.mul(torch.addcmul(_beside(base), _beside(scaled), cells), exponentials, out=place)
        return found, None


def _soft_pool(x: Tensor, kernel: Kernel) -> Tensor:
    out = torch.empty_like(x[:, :, :: kernel[0], :: kernel[1], :: kernel[2]])
    if x.is_meta:  # only the shape is needed, and a network pools a hundred times
        return out
    for source, target, cut in _blocks(x, kernel):
        cells = _windows(x[source], cut).to(wide_dtype(x))
        exponentials, total = _exponentials(cells)
        out[target] = _over_windows(torch.add, exponentials * cells) / total
    return out


def _windows(x: Tensor, kernel: Kernel) -> Tensor:
    """N C T H W -> N C T' kt H' kh W' kw, a view."""
    return x.unflatten(4, (-1, kernel[2])).unflatten(3, (-1, kernel[1])).unflatten(2, (-1, kernel[0]))


def _beside(x: Tensor) -> Tensor:
    """N C T' H' W' -> N C T' 1 H' 1 W' 1, a view."""
    return x[:, :, :, None, :, None, :, None]


def _over_windows(operation: Callable[[Tensor, Tensor], Tensor], cells: Tensor) -> Tensor:
    """Combines the cells of each window; time and height first, whose neighbours are long rows in memory."""
    for dim in (3, 4, 5):
        cells = reduce(operation, cells.unbind(dim))
    return cells


def _exponentials(cells: Tensor) -> tuple[Tensor, Tensor]:
    """Computes a multiple of exp(a_r) for every cell of the windows, the same multiple for a window, and their sums.

    The multiple is 1 if all sums are moderate, which saves a third of the time on a CPU, and otherwise exp(-max).
    """
    # On AMD's processors, PyTorch takes four times as long for exp as for exp2.
    if cells.device.type == "cpu" and cells.numel():
        found = (cells * _TO_BITS).exp2_()
        total = _over_windows(torch.add, found)
        least, most = total.aminmax()
        if math.exp(-_MODERATE) < least and most < math.exp(_MODERATE):
            return found, total
    found = (cells - _beside(_over_windows(torch.maximum, cells))).mul_(_TO_BITS).exp2_()
    return found, _over_windows(torch.add, found)


def _soft_pool_traced(x: Tensor, kernel: Kernel) -> Tensor:
    """The same for compilers and exporters, for any batch size: few operations, which all runtimes have."""
    missing = [n for size, k in zip(x.shape[:1:-1], kernel[::-1], strict=True) for n in (0, -size % k if k > 1 else 0)]
    padded = F.pad(widen(x), missing, value=torch.finfo(wide_dtype(x)).min)  # exp(lowest - max) is 0
    peaks = F.interpolate(F.max_pool3d(padded, kernel), padded.shape[2:], mode="nearest")
    exponentials = torch.exp(padded - peaks)
    return (F.avg_pool3d(exponentials * padded, kernel) / F.avg_pool3d(exponentials, kernel)).to(x.dtype)


def _cells(x: Tensor, kernel: Kernel) -> list[Tensor]:
    """Returns the first cell of every window, the second of every window, ...: views."""
    kt, kh, kw = kernel
    return [x[:, :, a::kt, b::kh, c::kw] for a in range(kt) for b in range(kh) for c in range(kw)]


def _blocks(x: Tensor, kernel: Kernel) -> Iterator[tuple[Index, Index, Kernel]]:
    """Cuts a clip into blocks of whole windows, and windows that exceed the clip, whose kernel is the existing part.

    Yields the position in the clip, the position in the result, and the kernel.
    """
    frames = (_CPU_CHUNK if x.device.type == "cpu" else _CHUNK) * x.shape[2] // max(1, x.numel())
    if x.is_meta:  # nothing is computed on meta, and a block costs as much as the whole clip
        frames = x.shape[2]
    most = (max(1, frames // kernel[0]), x.shape[3], x.shape[4])
    spans = [_spans(size, k, limit) for size, k, limit in zip(x.shape[2:], kernel, most, strict=True)]
    everything = slice(None)
    for sources, targets, cut in (zip(*block, strict=True) for block in product(*spans)):
        yield (everything, everything, *sources), (everything, everything, *targets), cut


def _spans(size: int, kernel: int, most: int) -> list[tuple[slice, slice, int]]:
    """Splits one dimension: whole windows, at most `most` of them at a time, then a window that exceeds the size."""
    whole = size // kernel
    ends = [(i, min(i + most, whole)) for i in range(0, whole, most)]
    spans = [(slice(a * kernel, b * kernel), slice(a, b), kernel) for a, b in ends]
    if size % kernel:
        spans.append((slice(whole * kernel, size), slice(whole, whole + 1), size % kernel))
    return spans
