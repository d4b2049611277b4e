"""In which precision operators compute: never narrower than their input, and in float32 at least."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

# Asked once, for the compiler of PyTorch 2.6 cannot trace the question; a tensor on `meta` has no autocast.
_HAVE_AUTOCAST = frozenset(
    kind for kind in ("cpu", "cuda", "mps", "xpu", "hpu", "mtia", "xla") if torch.amp.is_autocast_available(kind)
)


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """A region in which autocast leaves dtypes alone, on the device of `x`.

    Without autocast it is nothing at all, so that exporters and compilers see no region.
    """
    kind = x.device.type
    if kind in _HAVE_AUTOCAST and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def wide_dtype(*tensors: Tensor) -> torch.dtype:
    """The widest dtype of some tensors, float32 at least: half precision becomes float32, float64 stays."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def widen(x: Tensor) -> Tensor:
    """`x` in float32 or wider."""
    return x.to(wide_dtype(x))


def mean(x: Tensor, dims: tuple[int, ...], *, keepdim: bool = False) -> Tensor:
    """The mean over some dimensions in the dtype of `x`, summed in float32 or wider.

    Args:
        x: any shape.
        dims: over which to average; (2, 3, 4) pools clips N C T H W to N C.
        keepdim: they stay, with size 1.
    """
    return x.mean(dims, keepdim=keepdim, dtype=wide_dtype(x)).to(x.dtype)
