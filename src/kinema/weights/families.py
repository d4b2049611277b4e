"""The names and formats of other releases, per family of networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from importlib import import_module
from pkgutil import iter_modules

from kinema.models.video_model import VideoModel
from kinema.weights import names as _names
from kinema.weights.names.family import FAMILIES, Names

for _module in iter_modules(_names.__path__):
    import_module(f"{_names.__name__}.{_module.name}")

_OWN = Names(lambda name: [name])


def names_of(model: VideoModel) -> Names:
    """Returns what is known for the family of a network; a network of no family has only its own names."""
    return next((n for family, n in FAMILIES.items() if isinstance(model, family)), _OWN)


def under_backbone(names: Names, left_out: tuple[str, ...]) -> Names:
    """Adapts this to a network on a backbone: names lead to the backbone, which has no head of its own."""
    gone = tuple(f"backbone.{part}." for part in left_out)

    def reader(source: Collection[str]) -> Callable[[str], list[str]]:
        candidates = names.reader(source) if names.reader else names.candidates
        return lambda name: [f"backbone.{target}" for target in candidates(name)]

    def remarks(own: Iterable[str], source: Iterable[str]) -> list[str]:
        source = list(source)
        candidates = reader(source)
        left = [name for name in source if any(target.startswith(gone) for target in candidates(name))]
        found = names.remarks([name.removeprefix("backbone.") for name in own], source)
        if left:
            odd = ", ".join(left)
            found = [*found, f"the head of the backbone is left out because this network has its own: {odd}"]
        return found

    new = re.compile(rf"^(?!backbone\.)|{names.new.pattern}")
    return Names(names.candidates, new, remarks, reader, names.convert, gone)
