"""The counts of the zoo, kept on disk: to follow all shapes of all networks takes half a minute."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch

import kinema
from kinema.errors import RunError
from kinema.evaluation.cost import Cost, count
from kinema.files import cache_folder, replace_file


def counted(
    names: Sequence[str], *, num_classes: int = 400, progress: Callable[[int, int], object] | None = None
) -> dict[str, Cost]:
    """What `count` gives for each name, from the cache where neither networks nor PyTorch have changed since.

    Args:
        names: of networks.
        num_classes: outputs of their classifiers.
        progress: called with the networks done and wanted.
    """
    path = cache_folder() / f"counts-{num_classes}-{_state_of_the_zoo()}.json"
    try:
        known = {name: _cost(values) for name, values in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):  # none yet, or damaged: it is only a cache
        known = {}
    missing = [name for name in names if name not in known]
    for i, name in enumerate(missing):
        known[name] = count(name, num_classes=num_classes)
        if progress is not None:
            progress(i + 1, len(missing))
    if missing:
        text = json.dumps({name: asdict(cost) for name, cost in known.items()})
        with suppress(RunError):  # a home that cannot be written to makes the next call slow, not wrong
            replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))
    return {name: known[name] for name in names}


def _cost(values: dict[str, int]) -> Cost:
    if not all(isinstance(number, int) for number in values.values()):
        raise TypeError("a count is no number")
    return Cost(**values)


def _state_of_the_zoo() -> str:
    """A hash of PyTorch's version and of all the code that networks are made of."""
    digest = hashlib.sha256(torch.__version__.encode())
    root = Path(kinema.__file__).parent
    for room in ("models", "ops", "evaluation"):
        for path in sorted((root / room).glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
