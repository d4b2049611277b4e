"""Names of recognizers and data sets as visitors see them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kinema.text import printable


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Paths by the shortest endings that tell them apart, so that visitors do not see the folders of the server.

    Args:
        paths: of recognizers or data sets, each once; a last part `recognizer` is left out where a folder is above it.
    """
    parts = {path: [part for part in Path(printable(path)).parts if part not in ("/", ".", "..")] for path in paths}
    for path, listed in parts.items():
        if len(listed) > 1 and listed[-1] == "recognizer":
            parts[path] = listed[:-1]
    names: dict[str, str] = {}
    for path, listed in parts.items():
        for count in range(1, len(listed) + 1):
            name = "/".join(listed[-count:])
            if sum(other[-count:] == listed[-count:] for other in parts.values()) == 1:
                break
        else:
            name = printable(path)
        names[name] = path
    return names
