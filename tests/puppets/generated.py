"""Reads what `generate` wrote."""

from __future__ import annotations

import csv
from pathlib import Path


def rows(folder: Path) -> list[dict[str, str]]:
    """The lines of the manifest."""
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))
