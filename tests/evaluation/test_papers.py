"""The tables of the papers: which rows are reached, and that no row is passed over."""

from __future__ import annotations

import json

import pytest

from kinema.cli import main
from kinema.errors import KinemaError
from kinema.evaluation.papers import paper_rows, tables

# Table -> how far parameters and operations of the rows without a note may be off.
REACHED = {"stm-4": (0.004, 0.004), "stm-10": (0.004, 0.007), "x3d": (0.002, 0.002), "mtconv-delta": (0.04, 0.08)}

ROWS = {"stm-4": 7, "stm-10": 5, "x3d": 3, "mtconv-delta": 7}


@pytest.mark.parametrize("table", sorted(REACHED))
def test_rows_without_a_note_are_reached(table: str) -> None:
    params, operations = REACHED[table]
    rows = paper_rows(table)
    assert len(rows) == ROWS[table]
    for row in rows:
        if not row.why:
            assert abs(row.params_off) <= params, row.row
            assert abs(row.operations_off) <= operations, row.row


def test_a_row_that_is_far_off_says_why() -> None:
    for table in ("stm-4", "stm-10", "class-regularisation"):
        for row in paper_rows(table):
            far = [d for d in (row.params_off, row.operations_off) if d is not None and abs(d) > 0.05]
            assert row.why or not far, row.row


def test_an_unknown_table_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KinemaError, match="did you mean 'srtg'"):
        paper_rows("srgt")
    assert main(["cost", "stm_r18", "--paper", "x3d"]) == 2
    assert "either models or --paper" in capsys.readouterr().err


def test_the_command_prints_both_numbers_and_their_difference(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--paper", "stm-4"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("STM-50 16F", "66.50", "66.39", "-0.2%", "no reading"))
    assert main(["cost", "--paper", "x3d", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["row"] for row in rows] == ["X3D-S", "X3D-M", "X3D-L"]
    assert {"x3d", "srtg", "class-regularisation"} <= set(tables())
