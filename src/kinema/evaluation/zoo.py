"""The table of all networks, which ships as a file: `kinema models` answers without building a network.

`benchmarks/model_table.py` writes it by counting every network; a test compares the two.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

FILE = "models.csv"
CLASSES = 400  # outputs of the classifier in the table
_NUMBERS = ("frames", "size", "params", "macs", "normalised", "params_per_class", "macs_per_class")
COLUMNS = ("model", "paper", *_NUMBERS)


@dataclass(frozen=True)
class ZooRow:
    """One network with its default options.

    Attributes:
        model: name of the network.
        paper: short name of its source.
        frames: T of the clip.
        size: height and width of the clip in pixels.
        params: number of learned parameters, with 400 classes.
        macs: multiply-accumulates of one view, with 400 classes (see `kinema.evaluation.cost.Cost`).
        normalised: number of output values of BatchNorms.
        params_per_class: increase of `params` per additional class.
        macs_per_class: increase of `macs` per additional class.
    """

    model: str
    paper: str
    frames: int
    size: int
    params: int
    macs: int
    normalised: int
    params_per_class: int
    macs_per_class: int

    def to_dict(self, num_classes: int = CLASSES) -> dict[str, Any]:
        """Returns plain values, as printed by `kinema models --json`.

        Args:
            num_classes: outputs of the classifier.
        """
        more = num_classes - CLASSES
        macs = self.macs + more * self.macs_per_class
        return {
            "model": self.model, "paper": self.paper, "frames": self.frames, "size": self.size,
            "params": self.params + more * self.params_per_class, "macs": macs, "flops": 2 * macs,
            "normalised": self.normalised,
        }  # fmt: skip


@cache
def zoo() -> dict[str, ZooRow]:
    """Reads the shipped file: name -> row, sorted by name."""
    text = files("kinema.evaluation").joinpath(FILE).read_text(encoding="utf-8")
    found = {}
    for row in csv.DictReader(io.StringIO(text)):
        numbers = {name: int(row[name]) for name in _NUMBERS}
        found[row["model"]] = ZooRow(model=row["model"], paper=row["paper"], **numbers)
    return found
