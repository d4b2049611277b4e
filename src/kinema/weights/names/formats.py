"""What the format of a release implies beyond its names: options of the network and how its clips are made.

A file of weights holds neither the eps of a BatchNorm nor the frames that a pathway gets. Each family declares, beside
its name map, the formats that it knows, and where the code stands from which each declaration was read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Values = dict[str, Any]
Shape = tuple[int, ...]

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
GREY = {"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


@dataclass(frozen=True)
class File:
    """A file of weights, before there is a network for it.

    Attributes:
        shapes: name in the file, without `module.`, -> shape.
        places: name that it has in a network of the family (the likeliest one) -> shape.
        network: the name of the network that the file goes into.
        preset: the arguments which that name fixes, such as `depth`.
        given: the options of the network that a person has set.
    """

    shapes: Mapping[str, Shape]
    places: Mapping[str, Shape]
    network: str
    preset: Mapping[str, Any]
    given: Mapping[str, Any]

    def has(self, start: str) -> bool:
        """Whether a name in the file begins so; `start` is a regular expression."""
        return any(re.match(start, name) for name in self.shapes)

    @cached_property
    def classes(self) -> int | None:
        """Outputs of the classifier, if there is one."""
        shape = self.places.get("classifier.bias")
        return shape[0] if shape else None


def _nothing(file: File) -> Values:
    return {}


@dataclass(frozen=True)
class Format:
    """How one project writes the weights of a family, and what that says about the network.

    Attributes:
        name: of the project.
        mark: regular expression; a name that begins so is in every file of the format and in no other.
        source: the code from which the rest was read, as repository and path.
        options: what every network of the format has; another value given by hand is refused.
        usual: what its published files have but a file does not tell; a value given by hand goes first.
        clip: fields of the `ClipSpec` that the project's configurations have.
        refused: why a file of the format cannot be computed by this network, or None.
        compared: whether the project's own code was run beside the network here; else it was only read.
    """

    name: str
    mark: str
    source: str
    options: Callable[[File], Values] = _nothing
    usual: Callable[[File], Values] = _nothing
    clip: Callable[[File], Values] = _nothing
    refused: Callable[[File], str | None] = lambda file: None
    compared: bool = False


def always(**values: Any) -> Callable[[File], Values]:
    """The same values for every file."""
    return lambda file: dict(values)
