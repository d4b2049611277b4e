"""`card.json`: everything about a recognizer except its weights. The only reader, writer and validation of cards.

Format 2 holds the resolved options of the network: every option with its value, including defaults. A later change of
a default therefore cannot change a saved recognizer. Format 1 held only the options that were given.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from kinema import __version__
from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError
from kinema.files import replace_file
from kinema.text import parse_json

WEIGHTS, CARD = "model.safetensors", "card.json"
LAST = "recognizer-last"  # in a run folder: the recognizer of the last epoch; `recognizer` is that of the best epoch
SELECTION = "selection"  # under `training` in a card: which epoch was kept, and by which criterion
FORMAT = 2
HOW_TO_FIX = "copy both files from where they were saved, or save the recognizer again"

Schema = Mapping[str, "type | Schema"]  # key -> type of its value, or the schema of that value if it is an object

# Required keys: their types and descriptions.
_ENTRIES = {
    "architecture": (dict, "an object with the network's name and options"),
    "labels": (list, "a list of names, one per output"),
    "clip": (dict, "an object with the fields of ClipSpec"),
}
_RESERVED = ("format", *_ENTRIES)
_COUNTS = {"expected": int, "read": int, "failed": int}
# Optional keys with a known type; keys that are not listed here are kept as they are.
_MORE: Schema = {
    "versions": {}, "metrics": {}, "weights": {}, "training": {}, "verdicts": {}, "segments": {}, "multi_label": bool,
}  # fmt: skip
_INSIDE: Mapping[str, Schema] = {"training": {"config": {}, "coverage": _COUNTS}, "metrics": {"coverage": _COUNTS}}


@dataclass(frozen=True)
class Card:
    """The contents of a card.

    Attributes:
        format: the format number that was read.
        name: name of the network.
        options: options of `create_model`; in format 1 only those that were given.
        labels: one name per output, in the order of the outputs.
        clip: fields of the `ClipSpec`.
        more: further entries (`training`, `metrics`, `weights`, `versions`, …), plain values.
    """

    format: int
    name: str
    options: dict[str, Any]
    labels: tuple[str, ...]
    clip: dict[str, Any]
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def architecture(self) -> dict[str, Any]:
        """Name and options, as `VideoModel.architecture` holds them."""
        return {"name": self.name, "options": self.options}


def read_card(path: Path) -> Card:
    """Reads and checks a card.

    Raises:
        KinemaError: the file is unreadable, lacks a key, is not a card, or has a newer format.
    """
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # json's and Unicode's errors are ValueErrors
        raise KinemaError(f"{path}: not a readable card ({error}); {HOW_TO_FIX}") from error
    _check(values, path)
    architecture = values["architecture"]
    more = {key: value for key, value in values.items() if key not in _RESERVED}
    return Card(
        values["format"], architecture["name"], architecture["options"], tuple(values["labels"]), values["clip"], more
    )


def write_card(
    path: Path, *, architecture: Mapping[str, Any], labels: Sequence[str], spec: ClipSpec, more: Mapping[str, Any]
) -> None:
    """Writes a card of format 2. An existing file is replaced in one step.

    Args:
        path: path of the card.
        architecture: name and resolved options of the network.
        labels: one name per output.
        spec: how clips are made.
        more: further entries, plain values; `versions` is added if it is missing.

    Raises:
        KinemaError: a key of `more` is a field of the card itself, or an entry has the wrong type.
        RunError: the file cannot be written.
    """
    for key in more:
        if key in _RESERVED:
            raise KinemaError(
                f"{path}: the additional entries contain {key!r}, which is a field of the card itself; rename it"
            )
    values = {
        "format": FORMAT,
        "architecture": dict(architecture),
        "labels": list(labels),
        "clip": spec.to_dict(),
        "versions": versions(),
        **more,
    }
    _write(path, values)


def add_to_card(path: Path, key: str, entries: Mapping[str, Any]) -> None:
    """Adds entries under one key of an existing card. Everything else stays as it is, including the format.

    Args:
        path: of the card.
        key: key of an object among the further entries, such as `verdicts`; it is created if it is missing.
        entries: the entries; they replace existing ones of the same names.

    Raises:
        KinemaError: the card is not readable, the key is a field of the card itself, or JSON cannot hold the entries.
        RunError: the file cannot be written.
    """
    if key in _RESERVED:
        raise KinemaError(f"{path}: {key!r} is a field of the card itself; choose another name for the entry")
    read_card(path)
    values = parse_json(path.read_text(encoding="utf-8"))
    there = values.get(key, {})
    if not isinstance(there, dict):
        raise KinemaError(f"{path}: {key!r} is not an object to which entries can be added; {HOW_TO_FIX}")
    _write(path, {**values, key: {**there, **entries}})


def _write(path: Path, values: Mapping[str, Any]) -> None:
    """Checks the values of a card and writes them. An existing file is replaced in one step."""
    try:
        text = json.dumps(values, indent=2)
    except (TypeError, ValueError) as error:
        raise KinemaError(f"{path}: a value of the card is not valid JSON ({error}); use plain values") from error
    _check(json.loads(text), path)
    replace_file(path, lambda part: part.write_text(text + "\n", encoding="utf-8"))


def completed(options: Mapping[str, Any], resolved: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the options that a card does not state, with the values that the network was built with.

    Args:
        options: options of the card.
        resolved: resolved options of the network that was built from them.
        prefix: prefix of the names, for options inside an option.

    Returns:
        Dotted name -> value.
    """
    found: dict[str, Any] = {}
    for key, value in resolved.items():
        stated = options.get(key)
        if isinstance(stated, Mapping) and isinstance(value, Mapping):
            found |= completed(stated, value, f"{prefix}{key}.")
        elif key not in options or (stated is None and value is not None):
            found[f"{prefix}{key}"] = value
    return found


def versions() -> dict[str, str]:
    """Returns the versions of the software that made a result; they are written beside the result."""
    return {
        "kinema": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _check(values: Any, path: Path) -> None:
    """Raises `KinemaError` if `values` is not a card that this version can read."""
    if not isinstance(values, dict):
        raise KinemaError(f"{path}: not a card (a JSON object with keys); {HOW_TO_FIX}")
    if "format" in values:
        _check_format(values["format"], path)
    for key, (kind, what) in _ENTRIES.items():
        if key not in values:
            raise KinemaError(f"{path}: the key {key!r} is missing; {HOW_TO_FIX}")
        if not isinstance(values[key], kind):
            raise KinemaError(f"{path}: {key!r} must be {what}; {HOW_TO_FIX}")
    if "format" not in values:
        raise KinemaError(f"{path}: the key 'format' is missing; {HOW_TO_FIX}")
    for key, kind in (("name", str), ("options", dict)):
        if not isinstance(values["architecture"].get(key), kind):
            raise KinemaError(f"{path}: 'architecture' must contain the network's name and its options; {HOW_TO_FIX}")
    if not all(isinstance(label, str) and label for label in values["labels"]):
        raise KinemaError(f"{path}: 'labels' must contain one string per output; {HOW_TO_FIX}")
    wrong = misshapen(values, _MORE)
    for key, shape in _INSIDE.items():
        if wrong is None and (inner := misshapen(values.get(key) or {}, shape)):
            wrong = f"{key}.{inner}"
    if wrong is not None:
        raise KinemaError(f"{path}: the value of {wrong!r} has the wrong type; {HOW_TO_FIX}")


def _check_format(number: Any, path: Path) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise KinemaError(f"{path}: 'format' is {number!r}, but must be an integer from 1 to {FORMAT}; {HOW_TO_FIX}")
    if number > FORMAT:
        raise KinemaError(
            f"{path}: 'format' is {number}, from a newer Kinema; this version ({__version__}) reads formats up to "
            f"{FORMAT}: update Kinema"
        )


def misshapen(values: Mapping[str, Any], shape: Schema) -> str | None:
    """Returns the first key (dotted) whose value does not have the required type; None if all values have it.

    Args:
        values: contents of a JSON file. Outermost keys may be missing, because older files have fewer.
        shape: required types; all keys of an inner object are required.
    """
    for key, kind in shape.items():
        if key not in values:
            continue
        value = values[key]
        if isinstance(kind, type):
            if not isinstance(value, kind):
                return key
            continue
        if not isinstance(value, Mapping):
            return key
        inner = next((name for name in kind if name not in value), None) or misshapen(value, kind)
        if inner is not None:
            return f"{key}.{inner}"
    return None
