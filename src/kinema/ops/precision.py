"""Where mixed precision must not reach."""

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
