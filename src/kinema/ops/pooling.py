"""The poolings that make the input of a prolonged branch smaller: SoftPool, average, maximum, stochastic (MTConv)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from kinema.errors import KinemaError, unknown
from kinema.ops.layout import fold_time, unfold_time
from kinema.ops.selection import select_frames

Kernel = tuple[int, int, int]
Pooling = Literal["average", "max", "stochastic", "softpool", "average+cosine", "softpool+cosine"]

# Elements of the input that are pooled at a time: on a CPU so few that all intermediate results stay in the cache.
_CPU_CHUNK, _CHUNK = 2**19, 2**24


def prolong(x: Tensor, pooling: Pooling, training: bool = False) -> Tensor:
    """Halves a clip in time, height and width by one of the ways of table VIc.

    `average`, `max`, `stochastic` and `softpool` pool windows of 2x2x2 (sizes are rounded up); `average+cosine` and
    `softpool+cosine` pool windows of 1x2x2, then keep the T // 2 frames that `select_frames` chooses. Clips of one or
    two frames, from which it cannot choose, keep their frames.

    Args:
        x: N C T H W.
        pooling: one of the six ways.
        training: stochastic pooling draws; otherwise it weighs.
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
    elif pooling == "softpool+cosine":
        x = soft_pool(x)
    else:
        raise unknown("pooling", str(pooling), Pooling.__args__)  # type: ignore[attr-defined]
    return select_frames(x, x.shape[2] // 2)[0] if x.shape[2] > 2 else x


def soft_pool(x: Tensor, kernel: Kernel = (1, 2, 2)) -> Tensor:
    """The mean of each window, weighted by the softmax of its own activations, for every channel by itself.

    `out = sum_r softmax(a)_r a_r` over the cells r of a window. Windows do not overlap; one that sticks out of the clip
    uses the cells that exist. The largest activation is subtracted before the exponential, float16 and bfloat16 are
    computed in float32, and nothing is clamped: negative activations stay negative.

    Args:
        x: N C T H W; faster in `channels_last_3d` memory.
        kernel: cells of a window in time, height and width.

    Returns:
        N C ceil(T / kt) ceil(H / kh) ceil(W / kw), dtype and memory format of `x`.

    Source: MTConv, equation 5; Stergiou et al., Refining activation downsampling with SoftPool.
    """
    _check(x, kernel)
    if x.requires_grad and torch.is_grad_enabled():
        return _SoftPool.apply(x, kernel)
    return _soft_pool(x, kernel)


def average_pool(x: Tensor, kernel: Kernel = (1, 2, 2)) -> Tensor:
    """The mean of each window, of the cells that exist; shapes as `soft_pool`."""
    _check(x, kernel)
    # Space, then time: the 2-D kernels know channels-last memory and half precision, the 3-D one knows neither.
    pooled = F.avg_pool2d(fold_time(x), kernel[1:], ceil_mode=True, count_include_pad=False)
    pooled = unfold_time(pooled, x.shape[2])
    if kernel[0] == 1:
        return pooled
    over_time = F.avg_pool2d(pooled.flatten(3), (kernel[0], 1), ceil_mode=True, count_include_pad=False)
    return over_time.unflatten(3, pooled.shape[3:])


def stochastic_pool(x: Tensor, kernel: Kernel = (1, 2, 2), training: bool = False) -> Tensor:
    """One cell of each window, drawn with a probability in proportion to its activation; shapes as `soft_pool`.

    Outside training the mean under those probabilities. Activations are meant to be non-negative: a negative one has
    probability zero, and in a window without a positive one all cells are alike.

    Source: Zeiler and Fergus, Stochastic Pooling for Regularization of Deep Convolutional Neural Networks, ICLR 2013.
    """
    _check(x, kernel)
    parts = _cells(x, kernel)
    weights = [part.detach().to(_precision(x)).clamp_min(1e-30) for part in parts]
    if not training:
        total = weights[0].clone()
        for weight in weights[1:]:
            _corner(total, weight).add_(weight)
        out = torch.zeros_like(total)
        for part, weight in zip(parts, weights, strict=True):
            share = weight / _corner(total, weight)
            out = out + F.pad(share * part, [n for d in (4, 3, 2) for n in (0, out.shape[d] - part.shape[d])])
        return out.to(x.dtype)
    # The cell whose exponential clock rings first, at a rate of its activation, is a draw in proportion to the rates.
    out = parts[0].clone()
    first = torch.full_like(weights[0], torch.inf)
    for part, weight in zip(parts, weights, strict=True):
        time = torch.empty_like(weight).exponential_() / weight
        now = _corner(first, part)
        wins = time < now
        now.copy_(torch.where(wins, time, now))
        held = _corner(out, part)
        held.copy_(torch.where(wins, part, held))
    return out


class _SoftPool(torch.autograd.Function):
    """Keeps only its input and output; the weights are computed again for the gradient, a few frames at a time."""

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
        for source, of_window in _chunks(x, ctx.kernel):
            parts = _cells(x[:, :, source], ctx.kernel)
            exponentials, total = _exponentials(parts)
            scaled = gradient[:, :, of_window] / total
            base = scaled * (1 - out[:, :, of_window].to(scaled.dtype))
            for target, part, e in zip(_cells(found[:, :, source], ctx.kernel), parts, exponentials, strict=True):
                term = torch.addcmul(_corner(base, part), _corner(scaled, part), part.to(scaled.dtype))
                torch.mul(e, term, out=target)
        return found, None


def _soft_pool(x: Tensor, kernel: Kernel) -> Tensor:
    out = torch.empty_like(x[:, :, :: kernel[0], :: kernel[1], :: kernel[2]])
    for source, of_window in _chunks(x, kernel):
        parts = _cells(x[:, :, source], kernel)
        exponentials, total = _exponentials(parts)
        weighted = exponentials[0].mul_(parts[0])
        for part, e in zip(parts[1:], exponentials[1:], strict=True):
            _corner(weighted, part).addcmul_(e, part.to(e.dtype))
        torch.div(weighted, total, out=out[:, :, of_window])
    return out


def _exponentials(parts: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """exp(a_r - max) of every cell of the windows, and their sums."""
    peak = parts[0].clone()
    for part in parts[1:]:
        _corner(peak, part).clamp_(min=part)
    precision = _precision(peak)
    found = [torch.sub(part.to(precision), _corner(peak, part)).exp_() for part in parts]
    total = found[0].clone()
    for e in found[1:]:
        _corner(total, e).add_(e)
    return found, total


def _cells(x: Tensor, kernel: Kernel) -> list[Tensor]:
    """The first cell of every window, the second of every window, ...: views; later ones may lack the last windows."""
    kt, kh, kw = kernel
    parts = [x[:, :, a::kt, b::kh, c::kw] for a in range(kt) for b in range(kh) for c in range(kw)]
    return [part for part in parts if part.numel()] or parts[:1]


def _corner(x: Tensor, like: Tensor) -> Tensor:
    """The windows of `x` that `like` has."""
    return x[:, :, : like.shape[2], : like.shape[3], : like.shape[4]]


def _chunks(x: Tensor, kernel: Kernel) -> Iterator[tuple[slice, slice]]:
    """Cuts the time of a clip: slices of its frames, and of the frames of the result."""
    windows = -(-x.shape[2] // kernel[0])
    step = windows
    if not torch.compiler.is_compiling():  # a compiler fuses, and would fix the batch size to the one it sees
        budget = _CPU_CHUNK if x.device.type == "cpu" else _CHUNK
        step = max(1, budget * windows // max(1, x.numel()))
    for start in range(0, windows, step):
        yield slice(start * kernel[0], (start + step) * kernel[0]), slice(start, start + step)


def _precision(x: Tensor) -> torch.dtype:
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype


def _check(x: Tensor, kernel: Kernel) -> None:
    if x.ndim != 5:
        raise KinemaError(f"pooling takes clips of shape N C T H W, this has shape {tuple(x.shape)}")
    if len(kernel) != 3 or any(not isinstance(k, int) or k < 1 for k in kernel):
        raise KinemaError(f"kernel is {kernel!r}: give three whole numbers of at least 1, for time, height and width")
