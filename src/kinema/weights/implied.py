"""What a file of weights implies: its format, and the network options that follow from format and shapes.

`kinema weights import` builds the network with them, so that it computes the same as the release without options given
by hand. The declarations of each format are beside its name map in `kinema.weights.names`.
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
_FREE = ("frames", "width", "dropout")  # options in a card of this library that may be changed


@dataclass(frozen=True)
class Implied:
    """Options and clip fields that a file implies for one network.

    Attributes:
        format: project whose names the file has; "" if no format is recognised.
        source: source of the declarations of the format.
        options: options of the network that certainly follow from the file or its format.
        usual: options that the published files of the format have but that a file does not show.
        clip: fields of the `ClipSpec`.
        refused: reason why the network cannot compute the same as the file's network, or None.
        inside: option that contains the options, for a network on a backbone; "" is the network itself.
    """

    format: str = ""
    source: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    usual: dict[str, Any] = field(default_factory=dict)
    clip: dict[str, Any] = field(default_factory=dict)
    refused: str | None = None
    inside: str = ""

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the options to build the network with.

        Args:
            given: options that the user gave; they override options that are only usual.

        Raises:
            KinemaError: an option contradicts the file, or the network cannot compute the same as the file's network.
        """
        if self.refused is not None:
            raise KinemaError(f"the file is in the format of {self.format}: {self.refused}")
        inner = self._inner(given)
        for key, value in self.options.items():
            if key in inner and not _same(inner[key], value):
                why = f"is in the format of {self.format}, which has" if self.format else "has"
                raise KinemaError(f"options.{key} is {inner[key]!r}, but the file {why} {key}={value!r}: omit it")
        chosen = {**self.usual, **self.options, **inner}
        return {**given, self.inside: chosen} if self.inside and chosen else {**given, **chosen}

    def spec(self, model: VideoModel, given: Mapping[str, Any]) -> ClipSpec:
        """Returns the clip specification: the network's own, changed by the format and then by the user."""
        return ClipSpec.from_dict({**model.clip_spec.to_dict(), **self.clip, **given})

    def lines(self, given: Mapping[str, Any]) -> list[str]:
        """Returns lines to print: the format, and the settings that follow from it.

        Args:
            given: options that the user gave.
        """
        inner = self._inner(given)
        sure = ", ".join(f"{key}={value!r}" for key, value in self.options.items() if key not in inner)
        lines = []
        if self.format or sure:
            lines.append(f"format: {self.format or 'not recognised'}" + (f"; taken over: {sure}" if sure else ""))
        return lines + [
            f"note: the file does not state {key}; {key}={value!r} is used as in the published files of {self.format}; "
            f"--options.{key} changes it"
            for key, value in self.usual.items()
            if key not in inner and self.format != _OWN
        ]

    def differences(self, options: Mapping[str, Any]) -> list[str]:
        """Returns remarks about a network that has already been built.

        Args:
            options: resolved options of that network.
        """
        inner = self._inner(options)
        whose = f"the format of {self.format} has" if self.format else "the file has"
        found = [
            f"{whose} {key}={value!r}, but this network has {inner[key]!r}: only a network with {key}={value!r} "
            "computes the same"
            for key, value in self.options.items()
            if key in inner and not _same(inner[key], value)
        ]
        found += [
            f"the published files of {self.format} have {key}={value!r}, but this network has {inner[key]!r}"
            for key, value in self.usual.items()
            if key in inner and not _same(inner[key], value)
        ]
        return found if self.refused is None else [*found, f"the format of {self.format}: {self.refused}"]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, for a card."""
        values = asdict(self)
        return {key: values[key] for key in ("format", "source", "options", "usual", "clip")}

    def _inner(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return (options.get(self.inside) or {}) if self.inside else options


def implied(
    name: str, options: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str | Path | None = None
) -> Implied:
    """Returns what a file implies for a network.

    Args:
        name: name of the network.
        options: options that the user gave for it.
        tensors: tensors of the file.
        source: the file; if a card of this library for the same network is beside it, the card decides.

    Raises:
        KinemaError: the network or an option is unknown.
    """
    own = None if source is None else _own_card(name, Path(source))
    if own is not None:
        return own
    with torch.device("meta"):
        twin = create_model(name, **{**options, "num_classes": 1})
    return implied_for(twin, options, tensors)


def implied_for(model: VideoModel, options: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Implied:
    """Same as above, for a network that has been built; its weights are not used.

    Args:
        model: the network.
        options: options that the user gave for it, or all options.
        tensors: tensors of the file.
    """
    network, inside = model, ""
    own = set(model.state_dict())
    if isinstance(model, Attached):
        if any(name.startswith("backbone.") and name in own for name in tensors):
            return Implied()  # a file of this library for the whole network
        network, inside = model.backbone, "backbone_options"
        own = set(network.state_dict())
    entry, names = find_model(str(network.architecture["name"])), names_of(network)
    known = entry.options()
    file = _file(names, tensors, own, entry.name, entry.preset, (options.get(inside) or {}) if inside else options)
    sure = names.structure(file)
    if not set(file.shapes) <= own:  # otherwise the names are this library's
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
    """Returns the options of the network that its name does not fix."""
    return {key: value for key, value in values.items() if key in known}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return list(a) == list(b)
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _own_card(name: str, path: Path) -> Implied | None:
    """Returns the options in the card beside a file of this library, if it is for the same network."""
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
