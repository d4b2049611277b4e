"""The page `docs/fidelity.md`: every structural number of the papers beside what is counted here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from kinema.evaluation.papers import PaperRow

COMMAND = "benchmarks/fidelity.py"
CLOSE = 0.02  # a count that is no further off is called reached

# Where each table stands, in the order of the page.
PLACES = {
    "stm-1": "STM, table 1 (Something-Something)",
    "stm-2": "STM, table 2 (Kinetics-400)",
    "stm-4": "STM, table 4 (complexity)",
    "stm-10": "STM, table 10 (types of convolution)",
    "stm-text": "STM, section 3.4 (what STM adds to ResNet-50)",
    "srtg": "SRTG and thesis, tables 4.2 to 4.4, 5.5 and 6.2",
    "srtg-4": "SRTG, table 4 (transfer)",
    "srtg-text": "SRTG, section 4.5 (what the block adds)",
    "x3d": "X3D, which MTNet builds on",
    "mtconv": "MTConv, tables I, II and V, and thesis, tables 5.1, 5.2 and 5.5",
    "mtconv-delta": "MTConv, table VIa, and thesis, table 5.6",
    "mtconv-cells": "MTConv, table VIb, and thesis, table 5.7",
    "mtconv-text": "MTConv, section IV-E, and thesis, section 5.4",
    "class-regularisation": "Thesis, tables 6.2 to 6.4",
    "class-feature-pyramids": "Thesis, table 7.1",
    "cidc": "CIDC, tables 1 to 3",
}

HEAD = f"""# Fidelity to the papers

This page compares the numbers of parameters and operations that the texts print with those of the networks in Kinema.
They are counted, not measured; `kinema cost --paper all` prints the same numbers. `{COMMAND}` writes this page, and
a test compares it with the counts.

- **params** are in millions.
- **operations** are in units of 10^9 of the **unit** given: a `MAC` is a multiply-accumulate and equals two `FLOP`;
  `MAC+BN` adds 2 for each output of a BatchNorm. The papers call all three FLOPs; the unit given is the one that the
  rows of a table agree with. Convolutions and matrix products are counted; activations, pooling and sums are not.
- **ours** is the count of Kinema, and **off** its difference from the paper. If a row compares a network with a base
  network, as in `srtg_r3d_34 over r3d_34`, both counts are increases over the base in per cent; **off** is in points.
- **here** is the name of the network. It can be passed to `kinema cost`, and its options to `--options`.
- **reading** is how a row must be interpreted so that the numbers agree. In an unexplained row no interpretation makes
  them agree; the text then says what is known about the difference.
- A row without a network describes another network that the paper cites.
"""


def page(rows: Sequence[PaperRow]) -> str:
    """The whole page, in Markdown.

    Args:
        rows: of all tables, as `paper_rows("all")` gives them.
    """
    found = {table: list(group) for table, group in groupby(rows, lambda row: row.table)}
    sections = [section(table, found[table]) for table in PLACES if table in found]
    return "\n".join([HEAD, summary(rows), *sections])


def summary(rows: Sequence[PaperRow]) -> str:
    """How many numbers there are, and how many are reached."""
    offs = [off for row in rows for off in (row.params_off, row.operations_off) if off is not None]
    close = sum(abs(off) <= CLOSE for off in offs)
    printed = sum(n is not None for row in rows for n in (row.paper_params, row.paper_operations))
    there = len(offs)
    return (
        f"The texts print {printed} numbers. Kinema has the networks of {there} of them: {close} agree within "
        f"{CLOSE:.0%}, {sum(abs(off) <= 0.05 for off in offs)} within 5%.\n"
    )


def section(table: str, rows: Sequence[PaperRow]) -> str:
    """One table with its title.

    Args:
        table: name, as `kinema cost --paper` takes it.
        rows: of that table.
    """
    lines = [
        f"## {PLACES[table]}",
        "",
        f"`kinema cost --paper {table}`",
        "",
        "| row | here | input | params | ours | off | operations | ours | off | unit | reading |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|---|---|",
    ]
    for row in rows:
        cells = [
            row.row, f"`{row.network}`" if row.model else "", f"{row.frames}x{row.size}²" if row.model else "",
            _printed(row.paper_params), _ours(row.params), _off(row, row.params_off),
            _printed(row.paper_operations), _ours(row.operations), _off(row, row.operations_off),
            f"% {row.unit}" if row.base is not None and row.unit else row.unit, row.why,
        ]  # fmt: skip
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _printed(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _ours(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _off(row: PaperRow, value: float | None) -> str:
    if value is None:
        return ""
    return f"{100 * value:+z.1f}" + ("%" if row.base is None else " points")
