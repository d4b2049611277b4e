"""The structural rows of the papers' tables beside what this library counts: `kinema cost --paper TABLE`."""

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

# How a paper counts operations; none counts activations, pooling or sums.
UNITS: dict[str, Callable[[Cost], int]] = {
    "MAC": lambda cost: cost.macs,
    "FLOP": lambda cost: cost.flops,
    "MAC+BN": lambda cost: cost.macs + 2 * cost.normalised,
}


@dataclass(frozen=True)
class PaperRow:
    """One row of a paper's table, or a number in its text, and what its network counts here.

    Attributes:
        table: name of the table, as `kinema cost --paper` takes it.
        row: what the paper calls it.
        model: the network here; empty if it is another one, which Kinema does not have.
        options: of `create_model`.
        classes: outputs.
        frames: T.
        size: height and width in pixels.
        paper_params: millions, or None; with a `base`, per cent above its own.
        params: ours, None if there is no network here.
        paper_operations: thousands of millions in `unit`, or None; with a `base`, per cent above its own.
        operations: ours, in the same unit.
        unit: in which the paper counts, as far as its rows show.
        why: why a row cannot be reached or needs a reading; empty if it is plain.
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
        """Ours over the paper's, minus 1; with a `base`, ours minus the paper's, as a share."""
        return self._off(self.params, self.paper_params)

    @property
    def operations_off(self) -> float | None:
        """The difference of the operations, as `params_off` is that of the parameters."""
        return self._off(self.operations, self.paper_operations)

    def _off(self, ours: float | None, paper: float | None) -> float | None:
        if ours is None or paper is None:
            return None
        return ours / paper - 1 if self.base is None else (ours - paper) / 100

    @property
    def network(self) -> str:
        """The network with its options, in words; empty if there is none here."""
        if not self.model:
            return ""
        own = _named(self.model, self.options)
        return own if self.base is None else f"{own} over {_named(self.base['model'], self.base.get('options', {}))}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values with both differences."""
        return asdict(self) | {"params_off": self.params_off, "operations_off": self.operations_off}


def _named(model: str, options: Mapping[str, Any]) -> str:
    return " ".join([model, *(f"{key}={json.dumps(value).strip(chr(34))}" for key, value in options.items())])


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


@cache
def _cost(model: str, options: str, classes: int, frames: int | None, size: int | None) -> Cost:
    """Several tables hold the same networks, and a count takes a second."""
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
