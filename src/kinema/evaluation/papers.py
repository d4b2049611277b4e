"""The structural rows of the papers' tables beside what this library counts: `kinema cost --paper TABLE`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any, Literal

from kinema.errors import unknown
from kinema.evaluation.cost import Cost, count

Unit = Literal["MAC", "FLOP", "MAC+BN"]

# How a paper counts operations; none counts activations, pooling or sums.
UNITS: dict[str, Callable[[Cost], int]] = {
    "MAC": lambda cost: cost.macs,
    "FLOP": lambda cost: cost.flops,
    "MAC+BN": lambda cost: cost.macs + 2 * cost.normalised,
}


@dataclass(frozen=True)
class PaperRow:
    """One row of a paper's table and what its network counts here.

    Attributes:
        table: name of the table, as `kinema cost --paper` takes it.
        row: what the paper calls it.
        model: the network here.
        options: of `create_model`.
        classes: outputs.
        frames: T.
        size: height and width in pixels.
        paper_params: millions, or None.
        params: millions, ours.
        paper_operations: thousands of millions in `unit`, or None.
        operations: ours, in the same unit.
        unit: in which the paper counts, as far as its rows show.
        why: why a row cannot be reached or needs a reading; empty where it is plain.
    """

    table: str
    row: str
    model: str
    options: dict[str, Any]
    classes: int
    frames: int
    size: int
    paper_params: float | None
    params: float
    paper_operations: float | None
    operations: float | None
    unit: str
    why: str

    @property
    def params_off(self) -> float | None:
        """Ours over the paper's, minus 1."""
        return None if self.paper_params is None else self.params / self.paper_params - 1

    @property
    def operations_off(self) -> float | None:
        """Likewise."""
        if self.paper_operations is None or self.operations is None:
            return None
        return self.operations / self.paper_operations - 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values with both differences."""
        return asdict(self) | {"params_off": self.params_off, "operations_off": self.operations_off}


def tables() -> list[str]:
    """The names of the tables that are known."""
    return list(dict.fromkeys(row["table"] for row in _read()))


def paper_rows(table: str) -> list[PaperRow]:
    """Counts the networks of one table, or of `all`.

    Raises:
        KinemaError: an unknown table; the nearest is offered.
    """
    if table != "all" and table not in tables():
        raise unknown("table", table, [*tables(), "all"])
    return [_count(row) for row in _read() if table in ("all", row["table"])]


def _read() -> list[dict[str, str]]:
    text = files("kinema.evaluation").joinpath("papers.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _count(row: dict[str, str]) -> PaperRow:
    options = json.loads(row["options"])
    classes, frames, size = int(row["classes"]), int(row["frames"]), int(row["size"])
    cost = count(row["model"], num_classes=classes, frames=frames, size=size, options=options)
    return PaperRow(
        row["table"], row["row"], row["model"], options, classes, frames, size,
        float(row["params"]) if row["params"] else None, cost.params / 1e6,
        float(row["operations"]) if row["operations"] else None,
        UNITS[row["unit"]](cost) / 1e9 if row["unit"] else None, row["unit"], row["why"],
    )  # fmt: skip
