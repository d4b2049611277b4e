"""The graph of a Class Feature Pyramid: the channels that contribute to a class, layer by layer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kinema.errors import KinemaError, unknown
from kinema.explain.interpolate import Size, enlarge, to_unit
from kinema.explain.source import Pixels
from kinema.text import parse_json

FORMAT = 1


class Node(NamedTuple):
    """A channel of a layer.

    Attributes:
        layer: name of the layer; `classifier` for the class.
        channel: index in the layer's output; for the class, its index.
        score: its largest relevance for a parent, 0 to 1; for the class, its softmax score.
    """

    layer: str
    channel: int
    score: float


class Edge(NamedTuple):
    """A link between a channel and one of the channels that feed it.

    Attributes:
        parent: the channel closer to the class.
        child: the channel closer to the input.
    """

    parent: Node
    child: Node


@dataclass(frozen=True)
class Pyramid:
    """The result of the back-step from a class.

    Two pyramids are equal if their graphs are equal; maps, pixels and the label are not compared.

    Attributes:
        nodes: the class first, then the chosen channels, layer by layer, closest to the class first.
        links: (parent, child, strength): indices of nodes, and the relevance of the child for the parent, 0 to 1.
        levels: the layers at each step from the class, `("classifier",)` first. Layers within reach of which no channel
            was chosen are included.
        target: index of the class.
        threshold: theta, 0 to 1.
        mode: `feature`, `layer` or `group`.
        start: `activations` or `weights`.
        size: T, H, W of the clip.
        maps: index of a node -> float t h w, its activation. Empty in a pyramid that was read from JSON without maps.
        pixels: uint8 T H W 3, the frames of the clip, for drawing; None if they are not known.
        label: name of the class; None if it is not known.
    """

    nodes: tuple[Node, ...]
    links: tuple[tuple[int, int, float], ...]
    levels: tuple[tuple[str, ...], ...]
    target: int
    threshold: float
    mode: str
    start: str
    size: Size
    maps: Mapping[int, Tensor] = field(default_factory=dict, compare=False, repr=False)
    pixels: Pixels | None = field(default=None, compare=False, repr=False)
    label: str | None = field(default=None, compare=False)

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """The links as (parent, child), sorted by parent and then by child."""
        return tuple(Edge(self.nodes[parent], self.nodes[child]) for parent, child, _ in self.links)

    @cached_property
    def _numbers(self) -> dict[tuple[str, int], int]:
        return {(node.layer, node.channel): i for i, node in enumerate(self.nodes)}

    @property
    def depth(self) -> int:
        """The number of steps from the class to the farthest layer within reach."""
        return len(self.levels) - 1

    def of_layer(self, layer: str) -> tuple[Node, ...]:
        """Returns the chosen channels of a layer, by index.

        Raises:
            KinemaError: the layer is not in `levels`.
        """
        known = [name for level in self.levels for name in level]
        if layer not in known:
            raise unknown("layer of this pyramid", layer, known)
        return tuple(node for node in self.nodes if node.layer == layer)

    def children(self, node: Node) -> tuple[Node, ...]:
        """Returns the channels that feed a node.

        Raises:
            KinemaError: the node is not in this pyramid.
        """
        number = self.number_of(node)
        return tuple(self.nodes[child] for parent, child, _ in self.links if parent == number)

    def volume(self, node: Node) -> Tensor:
        """Returns the activation map of a channel, enlarged to the size of the clip with cubic splines.

        Args:
            node: one of `nodes`; for the class, the map is the sum over the channels that feed it.

        Returns:
            float32 T H W in [0, 1]; zeros if the map is constant.

        Raises:
            KinemaError: the node is not in this pyramid, or has no map.
        """
        number = self.number_of(node)
        if number == 0:
            return self._sum([child for parent, child, _ in self.links if parent == 0], "the class")
        return self._sum([number], f"channel {node.channel} of {node.layer}")

    def layer_volume(self, layer: str) -> Tensor:
        """Returns the sum of the maps of the chosen channels of a layer, enlarged to the size of the clip.

        Args:
            layer: a layer in `levels`.

        Returns:
            float32 T H W in [0, 1]; zeros if nothing was chosen.

        Raises:
            KinemaError: the layer is not in the pyramid, or has no map.
        """
        return self._sum([self.number_of(node) for node in self.of_layer(layer)], layer)

    def _sum(self, numbers: Sequence[int], what: str) -> Tensor:
        held = [self.maps[number].float() for number in numbers if number in self.maps]
        if numbers and not held:
            raise KinemaError(
                f"there is no map of {what}: it has none over space and time, or the pyramid was read from JSON; write "
                "the JSON with maps=True"
            )
        total = torch.zeros(self.size)
        for shape in {one.shape for one in held}:  # branches may differ in size
            together = torch.stack([one for one in held if one.shape == shape]).sum(0)
            total = total + enlarge(together, self.size)
        return to_unit(total)

    def number_of(self, node: Node) -> int:
        """Returns the index of a node in `nodes`.

        Raises:
            KinemaError: the node is not in this pyramid.
        """
        number = self._numbers.get((node.layer, node.channel)) if isinstance(node, Node) else None
        if number is None:
            raise KinemaError(f"node is {node!r}: give one of the pyramid's nodes")
        return number

    def to_json(self, *, maps: bool = False) -> str:
        """Returns the pyramid as JSON, see `from_json`.

        Args:
            maps: include the activation maps, from which volumes are computed; they make the text many times longer.
        """
        document: dict[str, Any] = {
            "format": FORMAT, "target": self.target, "label": self.label, "mode": self.mode, "start": self.start,
            "threshold": self.threshold, "size": list(self.size), "levels": [list(level) for level in self.levels],
            "nodes": [list(node) for node in self.nodes], "edges": [list(link) for link in self.links],
        }  # fmt: skip
        if maps:
            document["maps"] = {str(number): found.tolist() for number, found in self.maps.items()}
        return json.dumps(document, allow_nan=False, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Pyramid:
        """Reads a pyramid from the JSON of `to_json`.

        Args:
            text: JSON: `format`, `target`, `label`, `mode`, `start`, `threshold`, `size` (T, H, W), `levels` (names of
                layers for each step), `nodes` (layer, channel, score), `edges` (number of the parent, number of the
                child, strength) and optionally `maps` (number of a node -> t h w).

        Raises:
            KinemaError: it is not such JSON; the message names the field.
        """
        return _parsed(cls, text)

    def svg(self, pixels: Pixels | None = None, *, most: int = 6, warning: str | None = None) -> str:
        """Draws the pyramid as an SVG, see `kinema.explain.pyramid.draw.draw`.

        Args:
            pixels: uint8 T H W 3, the frames of the clip; None takes `pixels` of the pyramid.
            most: number of drawn channels per layer, at least 1; see `kinema.explain.pyramid.draw.draw`.
            warning: a sentence below the legend.
        """
        from kinema.explain.pyramid.draw import draw

        return draw(self, self.pixels if pixels is None else pixels, most=most, warning=warning)


def _parsed(cls: type[Pyramid], text: str) -> Pyramid:
    try:
        document = parse_json(text)
    except (ValueError, TypeError) as error:
        raise KinemaError(f"the pyramid is not JSON ({error}): give the text from Pyramid.to_json") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise KinemaError(f"the pyramid's field format is not {FORMAT}: give the text from Pyramid.to_json")

    def get(key: str, convert: Any) -> Any:
        try:
            return convert(document[key])
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError, AttributeError):
            raise KinemaError(f"the pyramid's field {key} is missing or damaged: write it again with to_json") from None

    nodes = get("nodes", lambda rows: tuple(Node(_word(a), _whole(b), _number(c)) for a, b, c in rows))
    inside = range(len(nodes))
    links = get("edges", lambda rows: tuple((inside[_whole(a)], inside[_whole(b)], _number(c)) for a, b, c in rows))
    maps: dict[int, Tensor] = {}
    if "maps" in document:
        maps = get("maps", lambda held: {inside[int(n)]: torch.tensor(found) for n, found in held.items()})
    return cls(
        nodes, links, get("levels", lambda rows: tuple(tuple(map(_word, row)) for row in rows)), get("target", _whole),
        get("threshold", _number), get("mode", _word), get("start", _word), get("size", _size), maps,
        label=None if document.get("label") is None else get("label", _word),
    )  # fmt: skip


def _size(value: Sequence[int]) -> Size:
    t, h, w = map(_whole, value)
    return t, h, w


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError
    return value


def _number(value: object) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError
    return float(value)
