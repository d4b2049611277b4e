"""Rules by which a name of another release becomes names here."""

from __future__ import annotations

import re
from collections.abc import Iterable

# The pattern of a whole name, and what it may be called here, likeliest first, as templates of `re.Match.expand`.
Rule = tuple[str, ...]


def places(rules: Iterable[Rule], name: str) -> list[str]:
    """What the first rule whose pattern is the whole name makes of it; without the prefix `module.`, none is itself."""
    name = name.removeprefix("module.")
    for pattern, *targets in rules:
        found = re.fullmatch(pattern, name)
        if found:
            return [found.expand(target) for target in targets]
    return [name]
