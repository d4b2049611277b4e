"""What the format of a release implies beyond its names: options of the network and clip fields.

A file of weights states neither the eps of a BatchNorm nor the frames that a pathway receives. Each family declares,
beside its name map, the formats that it knows, and the source code from which each declaration was taken.
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
        places: name in a network of the family (the likeliest one) -> shape.
        network: name of the network that receives the weights.
        preset: arguments that this name fixes, such as `depth`.
        given: options of the network that the user has set.
    """

    shapes: Mapping[str, Shape]
    places: Mapping[str, Shape]
    network: str
    preset: Mapping[str, Any]
    given: Mapping[str, Any]

    def has(self, start: str) -> bool:
        """True if a name in the file starts with `start`, a regular expression."""
        return any(re.match(start, name) for name in self.shapes)

    @cached_property
    def classes(self) -> int | None:
        """Number of outputs of the classifier, if there is one."""
        shape = self.places.get("classifier.bias")
        return shape[0] if shape else None


def _nothing(file: File) -> Values:
    return {}


@dataclass(frozen=True)
class Format:
    """The format of one project's weights for a family, and what it implies for the network.

    Attributes:
        name: name of the project.
        mark: regular expression for the start of a name that every file of the format has, and no other file.
        source: source code of the declarations, as repository and path.
        options: options that every network of the format has; other values given by hand are rejected.
        usual: options that the published files have but that a file does not show; values given by hand override them.
        clip: fields of the `ClipSpec` in the project's configurations.
        refused: reason why this network cannot compute a file of the format, or None.
        compared: True if the project's own code was run and compared with the network here; otherwise it was only read.
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
    """Returns a function that gives the same values for every file."""
    return lambda file: dict(values)
