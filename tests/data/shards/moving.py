"""Packed files that the next packing moves into shards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path


def to_be_sharded(files: Path, out: Path) -> Path:
    """A copy of packed files, as a packing with shards that was killed before its first shard leaves them.

    Encoding the same video twice does not always give the same bits, so that files and shards that are compared need
    one encoding.
    """
    shutil.copytree(files, out)
    for name in ("manifest.csv", "labels.txt", "flip_map.json", "ledger.csv"):
        (out / name).unlink()
    told = json.loads((out / "pack.json").read_text())
    (out / "pack.json").write_text(json.dumps(told | {"shards": True}) + "\n")
    return out
