"""What a pyramid needs to know of a network before it looks at a clip, kept for the next clip."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.explain.columns import CLASS, Column, Columns
from kinema.explain.provenance import Carrier, trace

_PLAIN = (bool, int, float, str, tuple, type(None))
_PASSING = {"training", "grad_checkpointing"}  # what does not change the way of a channel

Signature = list[Any]


class Plan:
    """The layers within reach of a class, and where their maps are had.

    Args:
        model: see `kinema.explain.activations`.
        clip: `1 3 T H W`.
        depth: see `class_feature_pyramid`.

    Attributes:
        columns: of the network.
        near: the columns within reach, nearest first.
        readers: numbers of the layers that are walked through.
        carriers: column -> number of the last map that a module other than a layer gave of its channels, or None.

    Raises:
        KinemaError: a network that cannot be followed, or a depth through a module without layers.
    """

    def __init__(self, model: nn.Module, clip: Tensor, depth: int | str) -> None:
        provenance = trace(model, clip)
        self.columns = Columns(provenance)
        self.near = self.columns.within(self._through(depth) if isinstance(depth, str) else depth)
        self.readers = self.columns.readers(self.near)
        self.carriers = {name: self._carrier(column) for name, column in self.near.items() if name != CLASS}
        self.kept: dict[int, Carrier] = {
            number: provenance.carriers[number] for number in self.carriers.values() if number is not None
        }
        for carrier in self.kept.values():
            carrier.settle()
        provenance.carriers = []  # they hold the tensors of the small clip

    def _through(self, name: str) -> int:
        """The steps that lead through a module."""
        depth = 4
        while True:
            near = self.columns.within(depth)
            here = [c.level for c in near.values() if f"{c.name}.".startswith(f"{name}.")]
            farthest = max(column.level for column in near.values())
            if farthest < depth or (here and max(here) < depth):
                break
            depth *= 2
        if not here:
            raise KinemaError(f"depth is {name!r}: no layer of that module leads to the classifier; name another")
        return max(here) + 1

    def _carrier(self, column: Column) -> int | None:
        carriers = self.columns.provenance.carriers
        return next((n for n in reversed(range(len(carriers))) if carriers[n].origins & column.origins), None)


_known: WeakKeyDictionary[nn.Module, tuple[Signature, dict[Any, Plan]]] = WeakKeyDictionary()


def plan_of(model: nn.Module, clip: Tensor, depth: int | str) -> Plan:
    """The plan for a network: a new one, or that of an earlier clip of the same length if nothing has changed since.

    Modules, their plain attributes, the shapes of their weights and the number of hooks are compared. Weights may
    change: no plan holds any. A network in which operations with weights are layers is followed anew every time.

    Raises:
        KinemaError: see `Plan`.
    """
    signature, key = _signature(model), (clip.shape[2:], clip.dtype, depth)
    held = _known.get(model)
    if held is None or not _same(held[0], signature):
        held = _known[model] = signature, {}
    plans = held[1]
    if key in plans:
        return plans[key]
    plan = Plan(model, clip, depth)
    if not any(layer.module is None for layer in plan.columns.provenance.layers):
        plans[key] = plan
    return plan


def _signature(model: nn.Module) -> Signature:
    found: Signature = []
    for name, module in model.named_modules():
        plain = tuple((k, v) for k, v in vars(module).items() if k not in _PASSING and isinstance(v, _PLAIN))
        shapes = tuple(p.shape for p in module.parameters(recurse=False))
        hooks = len(module._forward_hooks), len(module._forward_pre_hooks)
        # Not the network itself: it would then never be forgotten.
        found.append((None if module is model else module, name, type(module), plain, shapes, hooks))
    return found


def _same(a: Signature, b: Signature) -> bool:
    return len(a) == len(b) and all(x[0] is y[0] and x[1:] == y[1:] for x, y in zip(a, b, strict=True))
