"""Printing of the commands: tables for people, JSON for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.segment import Segment, Segments
from rich.table import Table

FOLDED = 16  # characters after which a word of text, such as a long path, may be broken if it does not fit
PROSE = 100  # longest line of prose in characters, on a terminal that is wide enough


def print_json(value: Any) -> None:
    """Prints one JSON document on stdout, with non-ASCII names unescaped."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    caption: str | None = None,
    notes: Sequence[str] | None = None,
) -> None:
    """Prints a plain table. Numbers are right-aligned and never broken; on a narrow terminal text is broken, at spaces
    if possible.

    Args:
        columns: names of the columns; a line break in a name is kept.
        rows: one cell per column.
        caption: a sentence under the table.
        notes: one text per row, printed on separate lines below the row; the rows themselves are then never broken.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    least = 2  # borders
    for i, column in enumerate(columns):
        cells = [str(row[i]) for row in rows]
        numeric = bool(rows) and all(map(_is_number, cells))
        whole = numeric or notes is not None
        words = cells if whole else " ".join(cells).split()
        width = max(map(cell_len, [*words, *column.split("\n")]), default=0)
        least += 2 + (width if whole else min(width, FOLDED))
        table.add_column(
            column,
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=whole,
            min_width=width if whole else None,
        )
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row))
    out = console()
    out.width = max(out.width, least)
    if notes is None:
        out.print(table)
    else:
        _print_with_notes(out, table, notes)
    if caption is not None:
        print_text(caption)


def print_text(text: str, indent: str = "") -> None:
    """Prints a paragraph, broken at spaces."""
    print(_broken(indent + text, min(console().width, PROSE), indent))


def _broken(text: str, width: int, indent: str) -> str:
    return fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _print_with_notes(out: Console, table: Table, notes: Sequence[str]) -> None:
    """Prints the lines of a table, one per row, each followed by its note; Rich has no cells that span columns."""
    *lines, edge = out.render_lines(table, pad=False)
    before = len(lines) - len(notes)
    for line, note in zip(lines, [""] * before + [*notes], strict=True):
        out.print(Segments([*line, Segment.line()]))
        if note:
            print_text(note, "     ")
    out.print(Segments([*edge, Segment.line()]))


def print_facts(facts: Mapping[str, Any]) -> None:
    """Prints names and values, one pair per line."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        print(_broken(f"{name:<{width}}  {value}", console().width, " " * (width + 2)))


def console() -> Console:
    """Returns a console as wide as the terminal, or wide enough for any table if there is no terminal."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=200)


def _is_number(text: str) -> bool:
    return text in ("", "–") or re.fullmatch(r"[-+]?\d+(\.\d+)?( ?[%MGk])?", text) is not None


def say(line: str) -> None:
    """Prints a line immediately, also into a pipe."""
    print(line, flush=True)
