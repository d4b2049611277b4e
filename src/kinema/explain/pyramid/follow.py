"""Follows channels through the operations of a forward pass, for any network.

Every tensor has a companion of the same shape that contains the origin of each of its elements (`Origins`). Operations
that move elements (views, concatenation, padding, selection) move their origins; sums unite them; a product with a
gate or with a statistic of the map keeps the origins of the map. Layers give their outputs new origins; they are
reported by `provenance.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from kinema.explain.pyramid.kernels import Kernel, convolution_kernel
from kinema.explain.pyramid.origins import ID, NOTHING, Origins, constant_along

# An operation with weights that is not a module: its input, the index of this argument, its kernel, and the dimension
# of the input's channels. Returns the origins of the output's channels.
Found = Callable[[Tensor, int, Kernel, int], Tensor]

_MOVES = {
    "cat", "stack", "index_select", "index", "gather", "flip", "roll", "repeat", "reflection_pad1d", "reflection_pad2d",
    "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d", "_unsafe_view", "where",
    "max_pool2d_with_indices", "max_pool3d_with_indices", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
    "native_channel_shuffle", "select_scatter", "slice_scatter", "index_copy", "index_put", "_index_put_impl_",
}  # fmt: skip
_SUMS = {"add", "sub", "rsub", "maximum", "minimum", "fmax", "fmin", "lerp", "logaddexp"}
_PRODUCTS = {"mul", "div"}
_GATES = {"sigmoid", "tanh", "hardsigmoid", "_softmax", "_log_softmax", "softplus"}
_FILLS = {"fill", "zero", "normal", "uniform"}
_REDUCTIONS = {
    "mean", "sum", "amax", "amin", "max", "min", "median", "prod", "var", "std", "var_mean", "std_mean", "logsumexp",
    "linalg_vector_norm", "norm",
}  # fmt: skip
_POOLS = {
    "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "mkldnn_adaptive_avg_pool2d",
    "adaptive_max_pool2d", "adaptive_max_pool3d",
}  # fmt: skip
_CONVOLUTIONS = {
    "convolution", "mkldnn_convolution", "_convolution", "cudnn_convolution", "miopen_convolution",
    "convolution_overrideable", "_slow_conv2d_forward", "slow_conv3d_forward", "_conv_depthwise2d", "conv_depthwise3d",
    "slow_conv_dilated2d", "slow_conv_dilated3d",
}  # fmt: skip
_MATRICES = {"mm": (0, 1), "bmm": (0, 1), "mv": (0, 1), "linear": (0, 1), "addmm": (1, 2), "baddbmm": (1, 2)}


@dataclass(frozen=True)
class Operation:
    """Properties of an operation, from its schema.

    Attributes:
        name: its name without the namespace.
        is_view: whether its results are views of its input.
        written: whether it writes to its input.
        fresh: whether its results are independent of its input.
        weighted: whether it may have weights: a convolution or a product of matrices.
    """

    name: str
    is_view: bool
    written: bool
    fresh: bool
    weighted: bool


@cache
def operation(func: Any) -> Operation:
    """Returns the properties of an operation; cached, because a forward pass has thousands of calls."""
    name = func._schema.name.split("::")[1]
    return Operation(
        name, func.is_view, func._schema.is_mutable, name.startswith("new_") or name.endswith("_like"),
        name in _CONVOLUTIONS or name in _MATRICES,
    )  # fmt: skip


def _tensors(given: Any) -> Iterator[Tensor]:
    """Yields the tensors among arguments or results; `torch.utils._pytree` would double the time of a trace."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, tuple | list):
        for one in given:
            yield from _tensors(one)


class Follower(TorchDispatchMode):
    """Records the origins of all tensors that operations create while it is active.

    Args:
        parameters: parameters of the network.
        found: called for an operation with weights that is not a module.

    Attributes:
        origins: the meaning of the numbers.
        paused: while above 0, operations run without being followed.
        lost: names of operations that mixed channels in a way that cannot be followed.
        weighted: operations so far that may have weights; `read.py` counts them in the same way.
    """

    def __init__(self, parameters: Iterable[Tensor], found: Found) -> None:
        super().__init__()
        self.origins, self.paused, self.weighted, self._found = Origins(), 0, 0, found
        self.lost: dict[str, None] = {}
        self._ids: Any = WeakTensorKeyDictionary()
        self._gates: Any = WeakTensorKeyDictionary()
        self._weights = {p.untyped_storage().data_ptr() for p in parameters}

    def of(self, x: Tensor) -> Tensor | None:
        """Returns the origins of the elements of a tensor; None if they are not known."""
        found: Tensor | None = self._ids.get(x)
        return found

    def channels(self, x: Tensor, dim: int) -> Tensor:
        """Returns the origin of each channel of a tensor, int64 C."""
        ids = self.of(x)
        if ids is None:
            return torch.full((x.shape[dim],), NOTHING, dtype=torch.int64, device=x.device)
        return self.origins.over(ids, [d for d in range(x.dim()) if d != dim % x.dim()]).flatten().long()

    def put(self, x: Tensor, ids: Tensor, dim: int | None = None) -> None:
        """Sets the origins of a tensor: expanded to its shape, or one per channel along `dim`."""
        if dim is not None:
            ids = ids.reshape([-1 if d == dim % x.dim() else 1 for d in range(x.dim())])
        # The strides are those of the tensor, so that every view of it is a view of these too.
        own = torch.empty_strided(x.size(), x.stride(), dtype=ID, device=x.device)
        self._ids[x] = own.copy_(ids.expand(x.shape))

    def gate(self, x: Tensor) -> None:
        """Marks a tensor as a gate, which only weights the tensors that it is multiplied with."""
        self._gates[x] = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not self.paused:
            what = operation(func)
            self.weighted += what.weighted
            self._follow(func, what, args, kwargs, result)
        return result

    def _follow(self, func: Any, what: Operation, args: Any, kwargs: Any, result: Any) -> None:
        given = [*_tensors(args), *_tensors(tuple(kwargs.values()))]
        made = [x for x in _tensors(result) if x.is_floating_point()]
        if not given or what.fresh:
            for x in made:  # may be filled later, through views
                self.put(x, torch.zeros((), dtype=ID, device=x.device))
            return
        known = [x for x in given if self.of(x) is not None]
        if not known or not made:
            return
        name, written = what.name, what.written
        if what.is_view:
            moved = _tensors(func(*self._mapped(args), **self._mapped(kwargs)))
            for x, ids in zip(made, moved, strict=True):
                self._ids[x] = ids
            gate = known[0] in self._gates
        else:
            kind = name.rstrip("_") if written and not name.startswith("_") else name
            ids, gate = self._rule(kind, func, args, kwargs, known, made[0])
            if written:
                if self.of(made[0]) is None:
                    self.put(made[0], ids.new_zeros(()))
                self._ids[made[0]].copy_(ids.expand(made[0].shape))
            else:
                self.put(made[0], ids)
        for x in made:
            if gate:
                self._gates[x] = True
            elif written:
                self._gates.pop(x, None)

    def _rule(
        self, name: str, func: Any, args: Any, kwargs: Any, known: list[Tensor], made: Tensor
    ) -> tuple[Tensor, bool]:
        """Returns the origins of the first result of an operation, and whether it is a gate."""
        gate = all(x in self._gates for x in known)
        first = self._ids[known[0]]
        nothing = first.new_zeros(())
        named = {a.name: value for a, value in zip(func._schema.arguments, args, strict=False)} | kwargs
        if name in _CONVOLUTIONS:
            return self._convolution(named, made), False
        if name in _MATRICES:
            return self._product(name, args, made)
        if name.startswith("_scaled_dot_product"):
            value = self.of(args[2])
            return (nothing if value is None else self.origins.over(value, [-2])), False
        if name == "copy":
            source = self.of(args[1])
            return (nothing if source is None else source), args[1] in self._gates
        if name == "constant_pad_nd":
            return func(first, args[1], NOTHING), gate
        if name in _MOVES:
            return next(_tensors(func(*self._mapped(args), **self._mapped(kwargs)))), gate
        if name in _SUMS:
            total = nothing
            for x in known:
                total = self.origins.add(total, self._ids[x])
            return total, gate
        if name in _PRODUCTS:
            return self._times(known, made), gate
        if name in ("addcmul", "addcdiv"):
            factors = [x for x in args[1:3] if isinstance(x, Tensor) and self.of(x) is not None]
            term = self._times(factors, made) if factors else nothing
            own = self.of(args[0])
            return (term if own is None else self.origins.add(own, term)), gate
        if name in _REDUCTIONS:
            return self._reduced(named.get("dim"), first, made), gate
        if name in _POOLS or name.startswith("upsample_"):
            return self._spread(first), gate
        if name in _FILLS:
            return nothing, gate
        return self._other(name, known, made), gate or name in _GATES

    def _mapped(self, given: Any) -> Any:
        """Returns the arguments of an operation with tensors replaced by their origins; index tensors are kept."""

        if isinstance(given, tuple | list):
            return [self._mapped(one) for one in given]
        if isinstance(given, dict):
            return {key: self._mapped(one) for key, one in given.items()}
        if not isinstance(given, Tensor) or not given.is_floating_point():
            return given
        ids = self.of(given)
        return torch.zeros((), dtype=ID, device=given.device).expand(given.shape) if ids is None else ids

    def _spread(self, ids: Tensor) -> Tensor:
        """Returns one origin per sample and channel, at every position."""
        return self.origins.over(ids, range(2, ids.dim()))

    def _other(self, name: str, known: list[Tensor], made: Tensor) -> Tensor:
        """Handles operations on single elements, or that keep samples and channels; for others the origins are lost."""
        for x in known:
            if x.shape == made.shape:
                return self._ids[x]
        first = known[0]
        if first.dim() == made.dim() >= 3 and first.shape[:2] == made.shape[:2]:
            return self._spread(self._ids[first])
        self.lost[name] = None
        return self._ids[first].new_zeros(())

    def _times(self, known: list[Tensor], made: Tensor) -> Tensor:
        """Handles a product: a gate or a broadcast tensor only weights the other factor."""
        kept = [x for x in known if self._ids[x].any()] or known[:1]
        kept = [x for x in kept if x not in self._gates] or kept
        kept = [x for x in kept if x.shape == made.shape] or kept
        total = self._ids[kept[0]]
        for x in kept[1:]:
            total = self.origins.add(total, self._ids[x])
        return total

    def _reduced(self, dims: Any, ids: Tensor, made: Tensor) -> Tensor:
        along = range(ids.dim()) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
        found = self.origins.over(ids, along)
        return found.reshape(made.shape) if found.numel() == made.numel() else found.new_zeros(())

    def _convolution(self, named: dict[str, Any], made: Tensor) -> Tensor:
        """Handles a convolution that is not a module: a channel-wise one keeps the channels, any other is a layer."""
        x, weight = named.get("input", named.get("self")), named["weight"]
        groups, transposed = int(named.get("groups", 1)), bool(named.get("transposed", False))
        assert isinstance(x, Tensor)
        if groups == x.shape[1] and not transposed:
            ids = self.channels(x, 1).repeat_interleave(made.shape[1] // groups)
        else:
            ids = self._found(x, 0, convolution_kernel(weight.detach(), groups, transposed), 1)
        return ids.to(ID).reshape(1, -1, *[1] * (made.dim() - 2))

    def _product(self, name: str, args: Any, made: Tensor) -> tuple[Tensor, bool]:
        """Handles a product of matrices: with weights it is a layer, with numbers per position it keeps the channels.

        A matrix that relates positions to each other (queries and keys) counts as a gate.
        """
        first, second = _MATRICES[name]
        left, right = args[first], args[second].mT if name == "linear" else args[second]
        a, b = self.of(args[first]), self.of(args[second])
        a = None if a is None or not a.any() else a
        b = None if b is None or not b.any() else b
        if a is not None and b is None and right.dim() == 2 and self._is_weight(right):
            return self._found(left, first, convolution_kernel(right.detach().T, 1), left.dim() - 1).to(ID), False
        if b is not None and a is None and left.dim() == 2 and self._is_weight(left):
            ids = self._found(right, second, convolution_kernel(left.detach(), 1), max(0, right.dim() - 2)).to(ID)
            return (ids[:, None] if right.dim() > 1 else ids), False
        related = a is not None and b is not None
        if related:
            a, b = (None if left in self._gates else a), (None if right in self._gates else b)
        if b is not None and (same := constant_along(b, [-2 if right.dim() > 1 else 0])) is not None:
            return same, right in self._gates
        if a is not None and (same := constant_along(a, [-1])) is not None:
            return (same if right.dim() > 1 else same.squeeze(-1)), left in self._gates
        if not related:
            self.lost[name] = None
        return torch.zeros((), dtype=ID, device=made.device), True

    def _is_weight(self, x: Tensor) -> bool:
        return x.untyped_storage().data_ptr() in self._weights
