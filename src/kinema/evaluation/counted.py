"""The counts of the zoo, kept on disk: counting all networks takes half a minute."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch

import kinema
from kinema.errors import KinemaError, RunError
from kinema.evaluation.cost import Cost, count
from kinema.files import cache_folder, replace_file
from kinema.models.registry import find_model
from kinema.text import parse_json

_COUNTER = "evaluation/cost.py"


def counted(
    names: Sequence[str], *, num_classes: int = 400, progress: Callable[[int, int], object] | None = None
) -> dict[str, Cost]:
    """What `count` gives for each name, from the cache where neither networks nor PyTorch have changed since.

    Args:
        names: of networks.
        num_classes: outputs of their classifiers.
        progress: called with the networks done and wanted.
    """
    path = cache_folder() / f"counts-{num_classes}-{_code_hash()}.json"
    keys = {name: _key(name) for name in names}
    try:
        known = {key: _cost(values) for key, values in parse_json(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):  # none yet, or damaged: it is only a cache
        known = {}
    found = {name: known[key] for name, key in keys.items() if key in known}
    missing = [name for name in names if name not in found]
    for i, name in enumerate(missing):
        found[name] = count(name, num_classes=num_classes)
        if progress is not None:
            progress(i + 1, len(missing))
    fresh = {key: found[name] for name in missing if (key := keys[name]) is not None}
    if fresh:
        text = json.dumps({key: asdict(cost) for key, cost in (known | fresh).items()})
        with suppress(RunError):  # a home that cannot be written to makes the next call slow, not wrong
            replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))
    return {name: found[name] for name in names}


def _cost(values: dict[str, int]) -> Cost:
    if not all(isinstance(number, int) for number in values.values()):
        raise TypeError("a count is no number")
    return Cost(**values)


def _code_hash() -> str:
    """A hash of PyTorch's version and of the code of networks, operators and `count`.

    A version number does not change while a family is being edited, and modification times change with every checkout;
    only the bytes tell. Reading and hashing all files takes about a millisecond.
    """
    digest = hashlib.sha256(torch.__version__.encode())
    root = _package()
    for path in (*sorted((root / "models").rglob("*.py")), *sorted((root / "ops").rglob("*.py")), root / _COUNTER):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _key(name: str) -> str | None:
    """What a network is called in the cache: the code of one from outside this package is part of its key.

    None, which is not kept, for a network whose code is in no file, such as that of a notebook.
    """
    try:
        file = inspect.getsourcefile(find_model(name).build)
    except KinemaError:  # an unknown name, of which `count` tells
        return name
    if file is None or not Path(file).is_file():
        return None
    if Path(file).is_relative_to(_package()):
        return name
    return f"{name} {hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]}"


def _package() -> Path:
    return Path(kinema.__file__).parent
