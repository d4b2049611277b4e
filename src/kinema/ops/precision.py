"""The precision in which operators compute: never narrower than their input, and at least float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from kinema.ops.layout import fold_time

# Evaluated once, because the compiler of PyTorch 2.6 cannot trace it; a tensor on `meta` has no autocast.
_HAVE_AUTOCAST = frozenset(
    kind for kind in ("cpu", "cuda", "mps", "xpu", "hpu", "mtia", "xla") if torch.amp.is_autocast_available(kind)
)

_NARROW = frozenset((torch.float32, torch.bfloat16, torch.float16))


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Returns a context in which autocast changes no dtypes, on the device of `x`.

    Without autocast it does nothing, so that exporters and compilers see no context.
    """
    kind = x.device.type
    if kind in _HAVE_AUTOCAST and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def wide_dtype(*tensors: Tensor) -> torch.dtype:
    """Returns the widest dtype of some tensors, at least float32: half precision becomes float32, float64 stays."""
    dtype = torch.float32
    for tensor in tensors:
        if tensor.dtype not in _NARROW:  # an exporter would record each question
            dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def widen(x: Tensor) -> Tensor:
    """Returns `x` in float32 or wider."""
    dtype = wide_dtype(x)
    return x if x.dtype == dtype else x.to(dtype)


def mean(x: Tensor, dims: tuple[int, ...], *, keepdim: bool = False) -> Tensor:
    """Computes the mean over some dimensions in the dtype of `x`, summed in float32 or wider.

    Args:
        x: any shape.
        dims: dimensions to average; (2, 3, 4) pools clips N C T H W to N C.
        keepdim: keep these dimensions with size 1.
    """
    if dims == (3, 4):
        found = mean_per_frame(x).to(x.dtype)
        return found[..., None, None] if keepdim else found
    return x.mean(dims, keepdim=keepdim, dtype=wide_dtype(x)).to(x.dtype)


def mean_per_frame(x: Tensor) -> Tensor:
    """Computes the mean over height and width in float32 or wider; N C T H W -> N C T."""
    dtype = wide_dtype(x)
    if torch.compiler.is_compiling() or not x.is_contiguous(memory_format=torch.channels_last_3d):
        return x.mean((3, 4), dtype=dtype)
    # On a CPU, PyTorch sums pictures in this memory format five times as fast as clips.
    return fold_time(x).mean((2, 3), dtype=dtype).view(x.shape[0], x.shape[2], x.shape[1]).transpose(1, 2)
