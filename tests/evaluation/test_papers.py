"""The tables of the papers: which rows are reached, and that no row is passed over."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kinema.cli import cost as command
from kinema.cli import main
from kinema.errors import KinemaError
from kinema.evaluation.cost import count
from kinema.evaluation.fidelity import HEAD, PLACES, page, section
from kinema.evaluation.papers import UNITS, PaperRow, paper_rows, tables

# Table -> how far parameters and operations of the rows without a note may be off.
REACHED = {"stm-4": (0.004, 0.004), "stm-10": (0.004, 0.007), "x3d": (0.002, 0.002), "mtconv-delta": (0.04, 0.08)}

ROWS = {
    "stm-1": 20, "stm-2": 25, "stm-4": 10, "stm-10": 5, "stm-text": 1, "srtg": 18, "srtg-4": 4, "srtg-text": 6,
    "x3d": 3, "mtconv": 25, "mtconv-delta": 13, "mtconv-cells": 8, "mtconv-text": 2, "class-regularisation": 7,
    "class-feature-pyramids": 9, "cidc": 18,
}  # fmt: skip

PAGE = (Path(__file__).parents[2] / "docs/fidelity.md").read_text(encoding="utf-8")

# Beyond which difference a row needs a note; the presets of MTConv's tables were fitted to them.
FAR = {"mtconv": 0.08, "mtconv-delta": 0.08}


def test_the_tables_are_these() -> None:
    assert sorted(ROWS) == sorted(tables()) == sorted(PLACES)
    assert PAGE.startswith(HEAD)
    assert re.findall(r"^`kinema cost --paper (\S+)`$", PAGE, re.M) == list(PLACES)


@pytest.mark.slow
def test_the_page_is_what_the_script_writes() -> None:
    assert page(paper_rows("all")) == PAGE


def test_what_a_network_adds_to_another_is_in_points() -> None:
    (row,) = paper_rows("stm-text")
    assert row.network == "stm_r50 over tsn_r50"
    stm, tsn = (count(name, num_classes=174, frames=8, size=224) for name in ("stm_r50", "tsn_r50"))
    assert row.params == pytest.approx(100 * (stm.params - tsn.params) / tsn.params)
    assert row.params_off == pytest.approx((row.params - 0.8) / 100)
    assert "-0.1 points" in section("stm-text", [row])


@pytest.mark.parametrize("table", sorted(ROWS))  # all of a table in one test: the counts take long
def test_every_row_of_a_table(table: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = paper_rows(table)
    assert len(rows) == ROWS[table]
    for row in rows:
        was_counted(row)
        is_reached_or_says_why(row)
    assert section(table, rows) in PAGE, "write the page anew with benchmarks/fidelity.py"
    monkeypatch.setattr(command, "paper_rows", lambda table: rows)
    assert main(["cost", "--paper", table]) == 0
    fits_eighty_columns(rows, capsys.readouterr().out.splitlines())


def was_counted(row: PaperRow) -> None:
    assert row.paper_params is not None or row.paper_operations is not None, row
    if not row.model:  # another network
        assert (row.params, row.operations, row.network) == (None, None, "")
        assert "not built here" in row.why
        return
    assert row.params is not None, row
    assert row.params > 1 or row.base is not None, row
    assert row.unit in UNITS if row.paper_operations is not None else not row.unit, row
    assert (row.operations is not None) == bool(row.unit), row


def is_reached_or_says_why(row: PaperRow) -> None:
    far = FAR.get(row.table, 0.05)
    for off, bound in zip((row.params_off, row.operations_off), REACHED.get(row.table, (far, far)), strict=True):
        assert row.why or off is None or abs(off) <= bound, row


def fits_eighty_columns(rows: list[PaperRow], lines: list[str]) -> None:
    """Also in a pipe: every row whole on one line, its network and reason under it."""
    assert max(map(len, lines)) <= 100  # prose, where no terminal is narrower
    here = [row for row in rows if row.model]
    found = [i for i, line in enumerate(lines) if "²" in line]
    assert len(found) == len(here)
    for row in rows:
        assert any(line.startswith(f" {row.row} ") for line in lines)
    for row, at in zip(here, found, strict=True):
        assert len(lines[at]) <= 80
        assert lines[at].startswith(f" {row.row} ")
        assert f" {row.params:.2f} " in lines[at]
        note = " ".join(line.strip() for line in [*lines[at + 1 : at + 5], ""])
        assert note.startswith(row.network)
        assert row.why in note


def test_an_unknown_table_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KinemaError, match="did you mean 'srtg'"):
        paper_rows("srgt")
    assert main(["cost", "stm_r18", "--paper", "x3d"]) == 2
    assert "either models or --paper" in capsys.readouterr().err


def test_the_command_prints_both_numbers_and_their_difference(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--paper", "stm-4"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("STM-50 16F", "66.5 ", "66.39", "-0.2%", "unexplained"))
    assert main(["cost", "--paper", "x3d", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["row"] for row in rows] == ["X3D-S", "X3D-M", "X3D-L"]


def test_on_a_terminal_the_reasons_are_broken_at_spaces(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes Rich believe that it prints to a terminal
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["cost", "--paper", "stm-10"]) == 0
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 80
    at = next(i for i, line in enumerate(lines) if line.startswith(" CSTM channel-wise 1D, 2D"))
    assert lines[at].split()[-7:] == ["8x224²", "13.28", "13.29", "+0.1%", "24.05", "24.63", "+2.4%"]
    assert lines[at + 1] == "     stm_r50 mode=cstm spatial=late, MAC+BN: fits with the 2D convolution"
    assert lines[at + 2] == "     channel-wise in the last two stages only; in all stages 12.59 M and 18.2 G"
    assert lines[at + 3].startswith(" CSTM all ordinary")
