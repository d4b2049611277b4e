"""Networks whose SoftPools are compiled, such as MTNet, which is too large to be compiled as a whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.export import Dim

from kinema.backends.base import Runner
from kinema.backends.pytorch import Bfloat16, Folded, InBfloat16, compiled, no_bfloat16_units, no_compiler
from kinema.errors import KinemaError
from kinema.ops.mtconv import MTConv
from kinema.ops.pooling import Kernel, Pooling, half_of_frames, prolong
from kinema.text import first_line

_KERNELS: dict[Pooling, Kernel] = {"softpool+cosine": (1, 2, 2), "softpool": (2, 2, 2)}


class SoftPool(Folded):
    """Eager PyTorch with BatchNorm folded and compiled SoftPools."""

    name = "softpool"
    devices: tuple[str, ...] = ("cpu",)
    convolutions = Folded()

    def available(self) -> str | None:
        """Returns why nothing can be compiled here; None if there is a C++ compiler."""
        return no_compiler()

    def build(self, network: nn.Module, example: Tensor, calibration: Sequence[Tensor] = ()) -> Runner:
        """Returns a folded copy with compiled SoftPools; see `Backend.build`."""
        folded = self.prepared(network, example)
        self.replace(folded, torch.float32)
        return folded

    def replace(self, network: nn.Module, dtype: torch.dtype) -> None:
        """Replaces the SoftPools of a network in place.

        Raises:
            KinemaError: it has none.
        """
        layers = [part for part in network.modules() if isinstance(part, MTConv) and part.prolonged is not None]
        own = {name: CompiledProlong(name, dtype) for name in {part.pooling for part in layers} & set(_KERNELS)}
        if not own:
            raise KinemaError("it has no SoftPool")
        for layer in layers:
            layer.halve = own.get(layer.pooling)


class Bfloat16SoftPool(SoftPool):
    """Eager PyTorch in bfloat16 with compiled SoftPools."""

    name = "softpool+bfloat16"
    precision = "bfloat16"
    convolutions = Bfloat16()

    def available(self) -> str | None:
        """Returns why it cannot be used here or would be slow; else None."""
        return super().available() or no_bfloat16_units()

    def build(self, network: nn.Module, example: Tensor, calibration: Sequence[Tensor] = ()) -> Runner:
        """Returns a copy in bfloat16 with compiled SoftPools; see `Backend.build`."""
        narrow = InBfloat16(self.prepared(network, example))
        self.replace(narrow, torch.bfloat16)
        return narrow


class CompiledProlong:
    """`prolong` with SoftPool as one loop without intermediate results, for clips of any size.

    Args:
        pooling: `softpool` or `softpool+cosine`, as in `prolong`.
        dtype: float32 or bfloat16; sums are computed in float32.

    Raises:
        KinemaError: PyTorch cannot compile it.
    """

    def __init__(self, pooling: Pooling, dtype: torch.dtype) -> None:
        self._pooling, self._kernel, self._dtype = pooling, _KERNELS[pooling], dtype
        kt, kh, kw = self._kernel
        example = torch.zeros(4, kt, 16, kh, 16, kw, 48, dtype=dtype)
        sizes = (dict.fromkeys((0, 2, 4, 6), Dim.DYNAMIC),)
        try:
            with torch.no_grad():
                exported = torch.export.export(_Windows(), (example,), dynamic_shapes=sizes, strict=False)
            self._program = compiled(exported)
        except Exception as error:  # the compiler passes on all errors of its passes
            raise KinemaError(f"the compiler of PyTorch failed: {first_line(error)}") from error

    def __call__(self, x: Tensor) -> Tensor:
        """N C T H W -> N C T' H' W', without gradients; `prolong` computes clips of other dtypes."""
        if x.dtype != self._dtype or not x.numel():
            return prolong(x, self._pooling)
        for dim, size in enumerate(self._kernel, 2):
            if x.shape[dim] % size:  # a window that exceeds the clip counts its cells twice, which keeps their mean
                x = torch.cat([x, x.narrow(dim, x.shape[dim] - 1, 1)], dim)
        n, c, t, h, w = x.shape
        kt, kh, kw = self._kernel
        cells = x.permute(0, 2, 3, 4, 1).contiguous()
        pooled = self._program(cells.view(n * t // kt, kt, h // kh, kh, w // kw, kw, c))
        pooled = pooled.view(n, t // kt, h // kh, w // kw, c).permute(0, 4, 1, 2, 3)
        return half_of_frames(pooled) if self._pooling.endswith("cosine") else pooled


class _Windows(nn.Module):
    def forward(self, windows: Tensor) -> Tensor:
        """M kt H kh W kw C -> M H W C."""
        cells = [c.float() for a in windows.unbind(1) for b in a.unbind(2) for c in b.unbind(3)]
        most = reduce(torch.maximum, cells)
        weights = [torch.exp2((cell - most) * math.log2(math.e)) for cell in cells]
        weighted = [weight * cell for weight, cell in zip(weights, cells, strict=True)]
        return (reduce(torch.add, weighted) / reduce(torch.add, weights)).to(windows.dtype)
