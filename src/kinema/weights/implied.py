"""What a file of weights implies: its format, and the options of the network that the format and the shapes tell.

`kinema weights import` builds the network with them, so that it computes what the release did without any option given
by hand. What each format implies stands beside its name map in `kinema.weights.names`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinema.card import CARD, WEIGHTS, read_card
from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError
from kinema.models.attached import Attached
from kinema.models.registry import create_model, find_model
from kinema.models.video_model import VideoModel
from kinema.weights.families import Names, names_of
from kinema.weights.names.formats import File

_OWN = "Kinema"
_FREE = ("frames", "width", "dropout")  # of a card of this library, what may be set to something else


@dataclass(frozen=True)
class Implied:
    """What a file implies for one network.

    Attributes:
        format: the project whose names the file has; "" where no format is recognised.
        source: where it is written what the format implies.
        options: of the network, which the file or its format has for certain.
        usual: of the network, which the published files of the format have but a file does not tell.
        clip: fields of the `ClipSpec`.
        refused: why the network cannot compute what the file's did, or None.
        inside: the option that holds the options, for a network on a backbone; "" is the network itself.
    """

    format: str = ""
    source: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    usual: dict[str, Any] = field(default_factory=dict)
    clip: dict[str, Any] = field(default_factory=dict)
    refused: str | None = None
    inside: str = ""

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options to build the network with.

        Args:
            given: by a person; they go before what is only usual.

        Raises:
            KinemaError: one of them contradicts the file, or the network cannot compute what the file's did.
        """
        if self.refused is not None:
            raise KinemaError(f"the file is in the format of {self.format}: {self.refused}")
        inner = self._inner(given)
        for key, value in self.options.items():
            if key in inner and not _same(inner[key], value):
                why = f"is in the format of {self.format}, which has" if self.format else "has"
                raise KinemaError(f"options.{key} is {inner[key]!r}, but the file {why} {key}={value!r}: leave it out")
        chosen = {**self.usual, **self.options, **inner}
        return {**given, self.inside: chosen} if self.inside and chosen else {**given, **chosen}

    def spec(self, model: VideoModel, given: Mapping[str, Any]) -> ClipSpec:
        """How clips are made: the network's own way, what the format implies, and what a person gives."""
        return ClipSpec.from_dict({**model.clip_spec.to_dict(), **self.clip, **given})

    def lines(self, given: Mapping[str, Any]) -> list[str]:
        """Lines to print: the format, and the settings that follow from it.

        Args:
            given: the options that a person gave.
        """
        inner = self._inner(given)
        sure = ", ".join(f"{key}={value!r}" for key, value in self.options.items() if key not in inner)
        lines = []
        if self.format or sure:
            lines.append(f"format: {self.format or 'not recognised'}" + (f"; taken over: {sure}" if sure else ""))
        return lines + [
            f"note: the file does not tell {key}; {key}={value!r} is what the published files of {self.format} have, "
            f"--options.{key} sets another"
            for key, value in self.usual.items()
            if key not in inner and self.format != _OWN
        ]

    def differences(self, options: Mapping[str, Any]) -> list[str]:
        """Remarks about a network that is built already.

        Args:
            options: resolved, of that network.
        """
        inner = self._inner(options)
        whose = f"the format of {self.format} has" if self.format else "the file has"
        found = [
            f"{whose} {key}={value!r}, this network {inner[key]!r}: only one that is built with {key}={value!r} "
            "computes what theirs did"
            for key, value in self.options.items()
            if key in inner and not _same(inner[key], value)
        ]
        found += [
            f"the published files of {self.format} have {key}={value!r}, this network {inner[key]!r}"
            for key, value in self.usual.items()
            if key in inner and not _same(inner[key], value)
        ]
        return found if self.refused is None else [*found, f"the format of {self.format}: {self.refused}"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a card records them."""
        values = asdict(self)
        return {key: values[key] for key in ("format", "source", "options", "usual", "clip")}

    def _inner(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return (options.get(self.inside) or {}) if self.inside else options


def implied(
    name: str, options: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str | Path | None = None
) -> Implied:
    """What a file implies for a network of the zoo.

    Args:
        name: of the network.
        options: that a person has given for it.
        tensors: of the file.
        source: the file; where a card of this library lies beside it and is of the same network, the card decides.

    Raises:
        KinemaError: an unknown network or option.
    """
    own = None if source is None else _own_card(name, Path(source))
    if own is not None:
        return own
    with torch.device("meta"):
        twin = create_model(name, **{**options, "num_classes": 1})
    return implied_for(twin, options, tensors)


def implied_for(model: VideoModel, options: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Implied:
    """The same for a network that is built; its weights are not looked at.

    Args:
        model: the network.
        options: that a person has given for it, or all of them.
        tensors: of the file.
    """
    network, inside = model, ""
    own = set(model.state_dict())
    if isinstance(model, Attached):
        if any(name.startswith("backbone.") and name in own for name in tensors):
            return Implied()  # a file of this library, for the whole network
        network, inside = model.backbone, "backbone_options"
        own = set(network.state_dict())
    entry, names = find_model(str(network.architecture["name"])), names_of(network)
    known = entry.options()
    file = _file(names, tensors, own, entry.name, entry.preset, (options.get(inside) or {}) if inside else options)
    sure = names.structure(file)
    if not set(file.shapes) <= own:  # else the names are this library's
        for one in names.formats:
            if file.has(one.mark):
                sure |= one.options(file)
                usual = {key: value for key, value in one.usual(file).items() if key not in sure}
                return Implied(
                    one.name, one.source, _known(sure, known), _known(usual, known), one.clip(file),
                    one.refused(file), inside,
                )  # fmt: skip
    return Implied(options=_known(sure, known), inside=inside)


def _file(
    names: Names, tensors: Mapping[str, Tensor], own: Collection[str], network: str, preset: Mapping[str, Any],
    given: Mapping[str, Any],
) -> File:  # fmt: skip
    candidates = names.reader(tensors) if names.reader else names.candidates
    shapes = {name.removeprefix("module."): tuple(tensor.shape) for name, tensor in tensors.items()}
    places: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        found = candidates(name)
        places.setdefault(next((target for target in found if target in own), found[0]), shape)
    return File(shapes, places, network, preset, given)


def _known(values: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Those that are options of the network; what its name fixes is not one."""
    return {key: value for key, value in values.items() if key in known}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return list(a) == list(b)
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _own_card(name: str, path: Path) -> Implied | None:
    """What the card beside a file of this library says, if it is of the same network."""
    if not path.is_dir() and path.name != WEIGHTS:
        return None
    folder = path if path.is_dir() else path.parent
    file = next((f for f in (folder / "recognizer" / CARD, folder / CARD) if f.is_file()), None)
    card = None if file is None else read_card(file)
    if card is None or card.name != name:
        return None
    options = {key: value for key, value in card.options.items() if key not in ("num_classes", *_FREE)}
    usual = {key: card.options[key] for key in _FREE if key in card.options}
    return Implied(_OWN, str(file), options, usual, card.clip)
