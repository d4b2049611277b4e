"""The distances of the layers of a network from the class, which a pyramid needs before it reads a clip.

The rules for blocks are those of the thesis, section 7.5.4: along an identity shortcut a channel passes unchanged, and
all branches of a block have the length of the longest one. The result is cached for the next clip.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.explain.pyramid.origins import NOTHING, Own, Sum
from kinema.explain.pyramid.provenance import Carrier, Provenance, trace

CLASS = "classifier"  # the column of the class
_PLAIN = (bool, int, float, str, tuple, type(None))
_PASSING = {"training", "grad_checkpointing"}  # hooks and attributes that do not affect the path of a channel

Signature = list[Any]


@dataclass(frozen=True)
class Source:
    """The parts of a channel.

    Attributes:
        own: outputs of layers, which are traced through their kernels.
        same: channels that pass unchanged along an identity shortcut.
    """

    own: tuple[Own, ...]
    same: tuple[int, ...]


@dataclass
class Column:
    """The channels of one layer.

    Attributes:
        name: name of the layer.
        level: number of steps from the class, along the longest path.
        height: decreases with every step towards the input.
        origins: origins of its channels.
    """

    name: str
    level: int
    height: float = 0.0
    origins: set[int] = field(default_factory=set)


class Columns:
    """Names, sources and levels of the channels of a network."""

    def __init__(self, provenance: Provenance) -> None:
        self.provenance = provenance
        self._what = provenance.origins.what
        self._inputs = [set(layer.inputs.tolist()) - {NOTHING} for layer in provenance.layers]
        # Number of layers below each origin on the longest path, which orders the steps towards the input. Parts of
        # a sum and inputs of a layer have lower numbers than the sum and the outputs.
        self._heights = [0.0]
        self._layer_heights = [0.0] * len(self._inputs)
        for origin in range(1, len(provenance.origins)):
            found = self._what(origin)
            if isinstance(found, Sum):
                self._heights.append(max(self._heights[part] for part in found.parts) + 0.5)
                continue
            assert found is not None
            if not self._layer_heights[found.layer]:
                below = max((self._heights[i] for i in self._inputs[found.layer]), default=0.0)
                self._layer_heights[found.layer] = 1 + below
            self._heights.append(self._layer_heights[found.layer])
        # Channels that only a gate reads do not count as read.
        self._read = {origin for number in self._leading() for origin in self._inputs[number]}
        self._sources: dict[int, Source] = {}
        self._names: dict[int, tuple[str, int]] = {}
        self._taken: dict[tuple[str, int], int] = {}

    def _leading(self) -> set[int]:
        """Returns the layers from which a path leads to the classifier."""
        found: set[int] = set()
        seen: set[int] = set()
        waiting = {self.provenance.classifier}
        while waiting:
            number = waiting.pop()
            found.add(number)
            origins = self._inputs[number] - seen
            while origins:
                seen |= origins
                known = [self._what(origin) for origin in origins]
                waiting |= {one.layer for one in known if isinstance(one, Own)} - found
                origins = {part for one in known if isinstance(one, Sum) for part in one.parts} - seen
        return found

    def source(self, origin: int) -> Source:
        """Returns the parts of a channel. A part of a sum that layers also read separately passes unchanged."""
        if origin not in self._sources:
            own: list[Own] = []
            same: list[int] = []
            waiting = [origin]
            while waiting:
                part = waiting.pop(0)
                found = self._what(part)
                if part != origin and part in self._read:
                    same.append(part)
                elif isinstance(found, Sum):
                    waiting = [*found.parts, *waiting]
                elif isinstance(found, Own):
                    own.append(found)
            self._sources[origin] = Source(tuple(own), tuple(same))
        return self._sources[origin]

    def name(self, origin: int) -> tuple[str, int]:
        """Returns layer and channel; for a sum those of its main path, the one with the most layers.

        A sum whose parts are all also read separately, and the second of two sums with the same main path, is called
        `LAYER, summed`.
        """
        if origin not in self._names:
            source, layers = self.source(origin), self.provenance.layers
            if source.own:
                main = max(source.own, key=lambda own: (self._layer_heights[own.layer], -own.layer))
                layer, channel = layers[main.layer].name, main.channel
            else:
                layer, channel = self.name(max(source.same, key=self._heights.__getitem__))
                layer = f"{layer}, summed"
            while self._taken.setdefault((layer, channel), origin) != origin:
                layer = f"{layer}, summed"
            self._names[origin] = layer, channel
        return self._names[origin]

    def within(self, depth: int) -> dict[str, Column]:
        """Returns the columns at most `depth` steps from the class, including the class, closest first.

        The direct inputs of the classifier are always included: a short branch beside a long one ends in the last
        column.
        """
        start = self._inputs[self.provenance.classifier]
        waiting: dict[str, Column] = {}
        found = {CLASS: Column(CLASS, 0)}
        self._reach(start, 1, waiting, found)
        while any(column.level <= depth for column in waiting.values()):
            # All paths to the highest column are known.
            column = waiting.pop(max(waiting, key=lambda name: waiting[name].height))
            found[column.name] = column
            sources = [self.source(origin) for origin in column.origins]
            self._reach({part for source in sources for part in source.same}, column.level + 1, waiting, found)
            for number in {own.layer for source in sources for own in source.own}:
                self._reach(self._inputs[number], column.level + 1, waiting, found)
        found |= waiting
        for name in {self.name(origin)[0] for origin in start}:
            found[name].level = min(found[name].level, depth)
        return {c.name: c for c in sorted(found.values(), key=lambda c: c.level) if c.level <= depth}

    def _reach(self, origins: set[int], level: int, waiting: dict[str, Column], found: dict[str, Column]) -> None:
        for origin in origins:
            name = self.name(origin)[0]
            if name in found:
                found[name].origins.add(origin)
                continue
            column = waiting.setdefault(name, Column(name, level))
            column.level, column.height = max(column.level, level), max(column.height, self._heights[origin])
            column.origins.add(origin)

    def readers(self, near: dict[str, Column]) -> set[int]:
        """Returns the layers that a back-step within some columns can pass, including the classifier."""
        deepest = max(column.level for column in near.values())
        found = {self.provenance.classifier}
        for column in near.values():
            if column.level < deepest:
                found |= {own.layer for origin in column.origins for own in self.source(origin).own}
        return {number for number in found if self._inputs[number]}


class Plan:
    """The layers within reach of a class, and the sources of their maps.

    Args:
        model: the network, see `kinema.explain.layers`.
        clip: `1 3 T H W`.
        depth: see `class_feature_pyramid`.

    Attributes:
        columns: columns of the network.
        near: the columns within reach, closest first.
        readers: numbers of the layers on the paths.
        carriers: column -> number of the last map of its channels that a module other than a layer returned, or None.

    Raises:
        KinemaError: the network cannot be followed, or depth names a module without layers.
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
        provenance.carriers = []  # they contain the tensors of the small clip

    def _through(self, name: str) -> int:
        """Returns the number of steps through a module."""
        depth = 4
        while True:
            near = self.columns.within(depth)
            here = [c.level for c in near.values() if f"{c.name}.".startswith(f"{name}.")]
            farthest = max(column.level for column in near.values())
            if farthest < depth or (here and max(here) < depth):
                break
            depth *= 2
        if not here:
            raise KinemaError(f"depth is {name!r}: no layer of this module leads to the classifier; give another one")
        return max(here) + 1

    def _carrier(self, column: Column) -> int | None:
        carriers = self.columns.provenance.carriers
        return next((n for n in reversed(range(len(carriers))) if carriers[n].origins & column.origins), None)


_known: WeakKeyDictionary[nn.Module, tuple[Signature, dict[Any, Plan]]] = WeakKeyDictionary()


def plan_of(model: nn.Module, clip: Tensor, depth: int | str) -> Plan:
    """Returns the plan for a network: a new one, or that of an earlier clip of the same length if nothing has changed.

    Modules, their plain attributes, the shapes of their weights and the number of hooks are compared. Weights may
    change, because plans do not contain them. A network in which operations with weights are layers is traced each
    time.

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
        # Not the network itself, which would then never be freed.
        found.append((None if module is model else module, name, type(module), plain, shapes, hooks))
    return found


def _same(a: Signature, b: Signature) -> bool:
    return len(a) == len(b) and all(x[0] is y[0] and x[1:] == y[1:] for x, y in zip(a, b, strict=True))
