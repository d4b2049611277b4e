"""The structural rows of the papers' tables, compared with the counts of this library: `kinema cost --paper TABLE`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from kinema.errors import unknown
from kinema.evaluation.cost import Cost, count

Unit = Literal["MAC", "FLOP", "MAC+BN"]

# The units in which papers count operations; none counts activations, pooling or sums.
UNITS: dict[str, Callable[[Cost], int]] = {
    "MAC": lambda cost: cost.macs,
    "FLOP": lambda cost: cost.flops,
    "MAC+BN": lambda cost: cost.macs + 2 * cost.normalised,
}


@dataclass(frozen=True)
class PaperRow:
    """One row of a paper's table, or a number in its text, and the counts of its network here.

    Attributes:
        table: name of the table for `kinema cost --paper`.
        row: name of the row in the paper.
        model: the network here; empty for a network that Kinema does not have.
        options: options of `create_model`.
        classes: number of outputs.
        frames: T.
        size: height and width in pixels.
        paper_params: the paper's parameters in millions, or None; with a `base`, increase over it in per cent.
        params: our count, None if there is no network here.
        paper_operations: the paper's operations in units of 10^9 `unit`, or None; with a `base`, increase in per cent.
        operations: our count, in the same unit.
        unit: the unit in which the paper counts, as far as its rows show.
        why: why a row cannot be reached or needs interpretation; empty if it agrees.
        base: `model` and `options` of the network that this one is compared with; None for numbers of the network
            itself.
    """

    table: str
    row: str
    model: str
    options: dict[str, Any]
    classes: int | None
    frames: int | None
    size: int | None
    paper_params: float | None
    params: float | None
    paper_operations: float | None
    operations: float | None
    unit: str
    why: str
    base: dict[str, Any] | None = None

    @property
    def params_off(self) -> float | None:
        """Our parameters divided by the paper's, minus 1; with a `base`, our increase minus the paper's."""
        return self._off(self.params, self.paper_params)

    @property
    def operations_off(self) -> float | None:
        """The difference of the operations, like `params_off` for the parameters."""
        return self._off(self.operations, self.paper_operations)

    def _off(self, ours: float | None, paper: float | None) -> float | None:
        if ours is None or paper is None:
            return None
        return ours / paper - 1 if self.base is None else (ours - paper) / 100

    @property
    def network(self) -> str:
        """The network with its options as text; empty if there is none here."""
        if not self.model:
            return ""
        own = _named(self.model, self.options)
        return own if self.base is None else f"{own} over {_named(self.base['model'], self.base.get('options', {}))}"

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values with both differences."""
        return asdict(self) | {"params_off": self.params_off, "operations_off": self.operations_off}


def _named(model: str, options: Mapping[str, Any]) -> str:
    return " ".join([model, *(f"{key}={json.dumps(value).strip(chr(34))}" for key, value in options.items())])


def tables() -> list[str]:
    """Returns the names of the tables."""
    return list(dict.fromkeys(row["table"] for row in _read()))


def paper_rows(table: str) -> list[PaperRow]:
    """Counts the networks of one table, or of `all`.

    Raises:
        KinemaError: the table is unknown; the message suggests the nearest one.
    """
    if table != "all" and table not in tables():
        raise unknown("table", table, [*tables(), "all"])
    return [_count(row) for row in _read() if table in ("all", row["table"])]


def _read() -> list[dict[str, str]]:
    text = files("kinema.evaluation").joinpath("papers.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@cache
def _cost(model: str, options: str, classes: int, frames: int | None, size: int | None) -> Cost:
    """Counts a network; cached, because several tables contain the same networks and a count takes a second."""
    return count(model, num_classes=classes, frames=frames, size=size, options=json.loads(options))


def _count(row: dict[str, str]) -> PaperRow:
    options, base = json.loads(row["options"]), json.loads(row["base"]) if row["base"] else None
    classes, frames, size = (int(row[key]) if row[key] else None for key in ("classes", "frames", "size"))
    params: float | None = None
    operations: float | None = None
    if row["model"]:
        given = (classes or 400, frames, size)
        cost = _cost(row["model"], row["options"], *given)
        counted = UNITS[row["unit"]] if row["unit"] else None
        params, operations = cost.params / 1e6, counted(cost) / 1e9 if counted else None
        if base is not None:
            other = _cost(base["model"], json.dumps(base.get("options", {})), *given)
            params = 100 * (cost.params / other.params - 1)
            operations = 100 * (counted(cost) / counted(other) - 1) if counted else None
    return PaperRow(
        row["table"], row["row"], row["model"], options, classes, frames, size,
        float(row["params"]) if row["params"] else None, params,
        float(row["operations"]) if row["operations"] else None, operations, row["unit"], row["why"], base,
    )  # fmt: skip
