"""The names of samples in shards: `SHARD.tar#NAME`."""

from __future__ import annotations

import os
import re
from pathlib import Path

_MEMBER = re.compile(r"(.*\.tar)#([^/\\#]+)", re.DOTALL | re.IGNORECASE)
INDEX = ".index.json"


def split_member(path: str | Path) -> tuple[str, str] | None:
    """Returns shard and name of a sample; None if a path is not the name of a sample.

    An existing file with such a name is treated as a file.
    """
    found = _MEMBER.fullmatch(os.fspath(path))
    if found is None or os.path.lexists(path):
        return None
    return found[1], found[2]


def index_of(shard: str) -> str:
    """Returns the path of a shard's index."""
    return shard[: -len(".tar")] + INDEX
