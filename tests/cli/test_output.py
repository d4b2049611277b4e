"""Tables for a person: whole in a pipe, and on a narrow terminal broken only where nobody misreads them."""

from __future__ import annotations

import json
import re

import pytest

from kinema.cli import main
from kinema.cli.output import print_facts, print_table, print_text


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed goes to a terminal of 80 columns, as far as Rich can tell."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in capsys.readouterr().out.splitlines()]


ROWS = [["a name of several words that takes much room " * 2, 12345.67, "1.25 G", "-3.5%"],
        ["short", 7, "101.00 M", "+12.0%"]]  # fmt: skip
COLUMNS = ["name", "a long heading", "MACs", "off"]


@pytest.mark.usefixtures("terminal")
def test_a_narrow_terminal_breaks_text_and_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, ROWS)
    printed = lines(capsys)
    assert max(map(len, printed)) <= 80
    assert sum("12345.67" in line and "1.25 G" in line and "-3.5%" in line for line in printed) == 1
    # Releases of Rich differ in the spaces between two columns.
    assert sum(bool(re.search(r"101\.00 M +\+12\.0%$", line)) for line in printed) == 1
    assert "a long heading" in printed[1]
    assert " ".join(line[:40].strip() for line in printed).count("a name of several words") == 2  # at spaces


@pytest.mark.usefixtures("terminal")
def test_a_table_of_numbers_that_cannot_fit_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([f"column {i}" for i in range(12)], [[1000000.25 + i for i in range(12)], ["–"] * 12])
    assert any(all(str(1000000.25 + i) in line for i in range(12)) for line in lines(capsys))


@pytest.mark.usefixtures("terminal")
def test_a_long_word_is_broken_rather_than_lost(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/".join(f"folder{i}" for i in range(12))
    print_table(["video", "score"], [[path, "0.93"]])
    printed = lines(capsys)
    assert max(map(len, printed)) <= 80
    assert path in "".join(line.replace("0.93", "").strip() for line in printed)


def test_nothing_is_broken_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, ROWS)
    assert sum(line.strip() != "" for line in lines(capsys)) == 4  # heading, rule and the rows
    print_facts({"here": "x " * 80})
    assert lines(capsys) == ["here  " + "x " * 79 + "x"]


def test_markup_in_a_cell_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["video"], [["[bold]a[/bold].mp4"]], notes=["b [red]"])
    assert [line.strip() for line in lines(capsys)][3:5] == ["[bold]a[/bold].mp4", "b [red]"]


@pytest.mark.usefixtures("terminal")
def test_notes_stand_under_their_rows(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["row", "value"], [["first", 1], ["second", 2]], notes=["because " * 12, ""], caption="end " * 30)
    printed = [line for line in lines(capsys) if line]
    assert [line.split()[0] for line in printed[2:6]] == ["first", "because", "because", "second"]
    assert all(line.startswith("     because") for line in printed[3:5])
    assert max(map(len, printed)) <= 80
    assert "second" in printed[5]
    print_text("word " * 30, "  ")
    assert max(map(len, lines(capsys))) <= 80


@pytest.mark.usefixtures("terminal")
def test_facts_have_a_hanging_indent(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts({"name": "short", "a": "word " * 30})
    printed = lines(capsys)
    assert printed[:2] == ["name  short", "a     " + " ".join(["word"] * 15)[:74].rstrip()]
    assert printed[2].startswith("      word")


@pytest.mark.usefixtures("terminal")
def test_cost_with_latency_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["cost", "tsn_efficientnet_lite0", "tsn_r18", "--options.width", "0.0625", "--frames", "2", "--size", "32"]
    assert main([*words, "--latency", "--repeats", "3"]) == 0
    printed = lines(capsys)
    assert max(map(len, printed)) <= 80
    counts, timings = (line for line in printed if line.startswith(" tsn_efficientnet_lite0"))
    assert re.fullmatch(r" \w+ +400 +2 +32 +\d+\.\d\d M +\d+\.\d\d G +\d+\.\d\d G", counts)
    assert re.fullmatch(r" \w+ +forward +\d+\.\d +\d+\.\d to \d+\.\d +\d+\.\d +\d+\.\d\d +\d+", timings)
    assert main([*words, "--classes", "7", "--json"]) == 0
    assert {row["classes"] for row in json.loads(capsys.readouterr().out)["rows"]} == {7}
