"""The names of samples in shards: `SHARD.tar#NAME`."""

from __future__ import annotations

import os
import re
from pathlib import Path

_MEMBER = re.compile(r"(.*\.tar)#([^/\\#]+)", re.DOTALL | re.IGNORECASE)
INDEX = ".index.json"


def split_member(path: str | Path) -> tuple[str, str] | None:
    """Shard and name of a sample; None of a path that names no sample.

    A file that happens to be called like a sample is a file.
    """
    found = _MEMBER.fullmatch(os.fspath(path))
    if found is None or os.path.lexists(path):
        return None
    return found[1], found[2]


def index_of(shard: str) -> str:
    """Where the index of a shard lies."""
    return shard[: -len(".tar")] + INDEX
