"""The registry of explanation methods, with their requests and results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from kinema.errors import KinemaError, unknown
from kinema.explain.activations import record


@dataclass(frozen=True)
class Asked:
    """The request to a method.

    Attributes:
        model: the network, see `kinema.explain.layers`.
        clip: `1 3 T H W` on the device and in the dtype of the network.
        choose: called with the logits `1 K`; returns the classes to explain, in order.
        layer: the requested layer; None is the default of the method.
        options: further keyword arguments, all supported by the method.
    """

    model: nn.Module
    clip: Tensor
    choose: Callable[[Tensor], Sequence[int]]
    layer: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """The result of a method for one class.

    Attributes:
        target: index of the class.
        map: float32 T H W in [0, 1], with the size of the clip; None if the method returns none.
        layer: the explained layer; None if the method needs none.
        details: plain values, for JSON.
        result: result of the method in addition to a map, such as a `Pyramid`.
    """

    target: int
    map: Tensor | None
    layer: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None


Findings = tuple[Tensor, list[Finding]]  # logits 1 K, and one finding or several per class


@dataclass(frozen=True)
class Method:
    """An explanation method.

    Attributes:
        name: its name for `explain`.
        run: computes the findings for a request.
        options: names of its further keyword arguments.
    """

    name: str
    run: Callable[[Asked], Findings]
    options: tuple[str, ...] = ()


METHODS: dict[str, Method] = {}


def register(
    name: str, options: Sequence[str] = ()
) -> Callable[[Callable[[Asked], Findings]], Callable[[Asked], Findings]]:
    """Returns a decorator that registers a method in `METHODS`.

    Its module must be imported by `kinema.explain.explanation`, which `explain` and the command line use.

    Args:
        name: name of the method.
        options: names of its further keyword arguments.
    """

    def put(run: Callable[[Asked], Findings]) -> Callable[[Asked], Findings]:
        METHODS[name] = Method(name, run, tuple(options))
        return run

    return put


Layers = str | Mapping[str, str] | None  # one layer for all methods, or one per method; None is the default of each


def layer_of(layers: Layers, method: str) -> str | None:
    """Returns the layer for a method; None is its default."""
    return layers.get(method) if isinstance(layers, Mapping) else layers


def read_layers(text: str | None, methods: Sequence[str]) -> Layers:
    """Parses the layers given by the user.

    Args:
        text: `layer3` for all methods, or pairs separated by commas: `tube=layer4,gradcam=layer3`. A method without a
            pair uses its default.
        methods: the requested methods.

    Raises:
        KinemaError: a pair names a method that is not requested, a method is named twice, or a name is missing.
    """
    if text is None or ("=" not in text and "," not in text):
        return text
    found: dict[str, str] = {}
    for part in text.split(","):
        method, equals, layer = (piece.strip() for piece in part.partition("="))
        if not (equals and method and layer):
            raise KinemaError(
                f"--layer {text}: {part.strip()!r} is not a METHOD=LAYER pair; give one layer for all methods, or "
                "METHOD=LAYER pairs "
                "separated by commas"
            )
        if method not in methods:
            raise unknown(f"method in --layer {text}", method, methods)
        if method in found:
            raise KinemaError(f"--layer {text}: names {method} twice; give one layer per method")
        found[method] = layer
    return found


def each_class(asked: Asked, find: Callable[[int], Finding]) -> Findings:
    """Runs a method that calls the network itself: one forward pass for the logits, then `find` for every class."""
    logits, _ = record(asked.model, asked.clip, [])
    return logits, [find(target) for target in asked.choose(logits)]
