"""Numbers for the origins of channels: an output channel of a layer, or a sum of such channels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

NOTHING = 0  # the origin of elements that no layer computed, or that cannot be followed
FEW = 8  # most origins in one sum; a mean over more is a statistic of the map, not a channel
ID = torch.float32  # dtype of origins: operations that move elements support it on every device; exact up to 2**24
_BASE = 2**24  # two origins fit into the 53 bits of a float64


@dataclass(frozen=True)
class Own:
    """The output channel `channel` of the layer with number `layer`."""

    layer: int
    channel: int


@dataclass(frozen=True)
class Sum:
    """The sum of two origins, such as a residual branch and its shortcut."""

    parts: tuple[int, int]


class Origins:
    """All origins of a network, numbered from 1; `what` returns the meaning of a number."""

    def __init__(self) -> None:
        # For an output channel: -1 - layer and channel; for a sum: its parts. Objects would slow garbage collection.
        self._first, self._second = [0], [0]
        self._sums: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        """The number of origins, including `NOTHING`."""
        return len(self._first)

    def what(self, origin: int) -> Own | Sum | None:
        """Returns the meaning of an origin; None for `NOTHING`."""
        if origin == NOTHING:
            return None
        first, second = self._first[origin], self._second[origin]
        return Own(-1 - first, second) if first < 0 else Sum((first, second))

    def add_layer(self, layer: int, channels: int) -> Tensor:
        """Creates the origins of a layer's outputs; `ID` [channels]."""
        first = len(self)
        self._first += [-1 - layer] * channels
        self._second += range(channels)
        return torch.arange(first, first + channels, dtype=ID)

    def sum_of(self, a: int, b: int) -> int:
        """Returns the origin of a sum of two; if one already contains the other, that one."""
        a, b = (a, b) if a < b else (b, a)
        if a in (NOTHING, b):
            return b
        found = self._sums.get((a, b))
        if found is None:
            if self._first[b] > 0 and a in (self._first[b], self._second[b]):  # sums have higher numbers than parts
                found = b
            else:
                found = len(self)
                self._first.append(a)
                self._second.append(b)
            self._sums[a, b] = found
        return found

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """Returns the origins of the sum of two tensors, with broadcasting."""
        a, b = torch.broadcast_tensors(a, b)
        if torch.equal(a, b) or not b.any():
            return a
        if not a.any():
            return b
        for dim in (1, -1) if a.dim() > 2 else ():  # the usual dimension of the channels; sorting all elements is slow
            rest = [d for d in range(a.dim()) if d != dim % a.dim()]
            if (x := constant_along(a, rest)) is not None and (y := constant_along(b, rest)) is not None:
                a, b = x, y
                break
        pairs, where = torch.unique(a.double() * _BASE + b, return_inverse=True)
        sums = [self.sum_of(*divmod(int(pair), _BASE)) for pair in pairs.tolist()]
        return torch.tensor(sums, dtype=ID, device=a.device)[where]

    def over(self, ids: Tensor, dims: Iterable[int]) -> Tensor:
        """Returns the origins of a sum over dimensions, which keep size 1; `NOTHING` for more than `FEW` origins."""
        along = sorted({dim % ids.dim() for dim in dims}) if ids.dim() else []
        if not along or not ids.numel():
            return ids
        low, found = _range(ids, along)
        mixed = low != found
        if mixed.any():
            rest = [dim for dim in range(ids.dim()) if dim not in along]
            rows = ids.permute(*rest, *along).reshape(*(ids.shape[dim] for dim in rest), -1)
            at = mixed.reshape(rows.shape[:-1])
            kinds, where = torch.unique(rows[at].sort(-1).values, dim=0, return_inverse=True)
            sums = torch.tensor([self._few(row) for row in kinds.long().tolist()], dtype=ID, device=ids.device)
            found[mixed] = sums[where]
        return found

    def _few(self, row: list[int]) -> int:
        different = sorted(set(row) - {NOTHING})
        total = NOTHING
        for origin in different if len(different) <= FEW else ():
            total = self.sum_of(total, origin)
        return total


def constant_along(ids: Tensor, dims: list[int]) -> Tensor | None:
    """Returns the origins if they are constant along some dimensions, which then have size 1; else None."""
    low, high = _range(ids, dims)
    return high if torch.equal(low, high) else None


def _range(ids: Tensor, dims: list[int]) -> tuple[Tensor, Tensor]:
    """Returns the lowest and highest origin over dimensions, which keep size 1; `NOTHING` is ignored beside others."""
    high = ids.amax(dims, keepdim=True)
    low = ids.masked_fill(ids == NOTHING, torch.inf).amin(dims, keepdim=True)
    return torch.where(low.isinf(), high, low), high
