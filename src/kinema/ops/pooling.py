"""Poolings that reduce the input of a prolonged branch: SoftPool, average, maximum, stochastic (MTConv)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from kinema.ops.arguments import Clips, Triple, checked
from kinema.ops.layout import fold_time, unfold_time
from kinema.ops.precision import wide_dtype
from kinema.ops.selection import select_frames

Kernel = tuple[int, int, int]
Index = tuple[slice, ...]
Pooling = Literal["average", "max", "stochastic", "softpool", "average+cosine", "softpool+cosine"]

# Input elements pooled at a time: on a CPU so few that all intermediate results stay in the cache.
_CPU_CHUNK, _CHUNK = 2**17, 2**24


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
            parts = _cells(x[source], kernel)
            exponentials, total = _exponentials(parts)
            scaled = gradient[target] / total
            del total  # the peak memory is the cost of this function
            base = scaled * (1 - out[target].to(scaled.dtype))
            for place, part, e in zip(_cells(found[source], kernel), parts, exponentials, strict=True):
                torch.mul(e, torch.addcmul(base, scaled, part.to(e.dtype)), out=place)
        return found, None


def _soft_pool(x: Tensor, kernel: Kernel) -> Tensor:
    out = torch.empty_like(x[:, :, :: kernel[0], :: kernel[1], :: kernel[2]])
    if x.is_meta:  # only the shape is needed, and a network pools a hundred times
        return out
    for source, target, cut in _blocks(x, kernel):
        parts = _cells(x[source], cut)
        exponentials, total = _exponentials(parts)
        weighted = exponentials[0] * parts[0]
        for part, e in zip(parts[1:], exponentials[1:], strict=True):
            weighted.addcmul_(e, part.to(e.dtype))
        torch.div(weighted, total, out=out[target])
    return out


def _soft_pool_traced(x: Tensor, kernel: Kernel) -> Tensor:
    """The same for compilers and exporters: a single expression, which they fuse, for any batch size."""
    missing = [n for size, k in zip(x.shape[:1:-1], kernel[::-1], strict=True) for n in (0, -size % k)]
    padded = F.pad(x.to(wide_dtype(x)), missing, value=torch.finfo(wide_dtype(x)).min)  # exp(lowest - max) is 0
    parts = _cells(padded, kernel)
    exponentials, total = _exponentials(parts)
    return (reduce(torch.add, [e * part for e, part in zip(exponentials, parts, strict=True)]) / total).to(x.dtype)


def _exponentials(parts: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Computes exp(a_r - max) of every cell of the windows, and their sums."""
    precision = wide_dtype(parts[0])
    peak = reduce(torch.maximum, parts).to(precision)
    found = [torch.exp_(part.to(precision) - peak) for part in parts]
    return found, reduce(torch.add, found)


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
