"""The parts of a page as HTML, from the templates in this folder."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2", "#65a30d", "#db2777")
LONG = 24  # a value of at least this many characters may be broken


@cache
def environment(package: str = __package__) -> Environment:
    """Returns the templates of a package and of the report.

    Args:
        package: its folder `templates` is searched first.
    """
    return Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((package, __package__))]),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def part(name: str, *values: Any, **options: Any) -> Markup:
    """Renders one of the macros in `parts.html`.

    Args:
        name: name of the macro.
        *values: its arguments; text is escaped, `Markup` is not.
        **options: its keyword arguments.
    """
    return Markup(getattr(environment().get_template("parts.html").module, name)(*values, **options))


def joined(parts: Iterable[str]) -> Markup:
    """Joins parts below each other."""
    return Markup("").join(parts)


def colours(names: Sequence[str]) -> dict[str, str]:
    """Returns the colour of every run, the same in all figures of a page."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def note(text: str) -> Markup:
    """Renders a sentence in small print."""
    return part("note", text)


def caution(text: str) -> Markup:
    """Renders a sentence that readers need to know before the figures below it."""
    return part("caution", text)


def subtitle(text: str) -> Markup:
    """Renders a heading inside a section."""
    return part("subtitle", text)


def tiles(entries: Iterable[tuple[str, str, Sequence[str]]]) -> Markup:
    """Renders one box per entry: name, a large figure and lines below it, with the colour of its run on top."""
    return part("tiles", [(*entry, COLOURS[i % len(COLOURS)]) for i, entry in enumerate(entries)])


def grid(figures: Iterable[str], *, small: bool = False) -> Markup:
    """Renders figures side by side if there is room, else below each other.

    Args:
        figures: SVG or HTML.
        small: up to three figures side by side, else two.
    """
    return part("grid", list(figures), small=small)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, numeric: bool = True) -> Markup:
    """Renders a table; if it is wider than the screen, it scrolls sideways under its first column.

    Args:
        head: names of the columns; without names there is no header.
        rows: rows of any values.
        numeric: all columns except the first are right-aligned numbers.
    """
    lines = [["" if value is None else value for value in row] for row in rows]
    return part("table", head if any(head) else [], lines, numeric=numeric)


def by_run(names: Sequence[str], facts: Mapping[str, Sequence[Any]], *, mark: bool = False) -> Markup:
    """Renders a table with a column per run and a row per fact, which fits a narrow screen.

    Facts that no run has are left out.

    Args:
        names: names of the runs.
        facts: name -> one value per run, None if it is not known.
        mark: highlight the rows in which the runs differ.
    """
    lines = [
        (fact, [_cell(value) for value in values], mark and len({str(value) for value in values}) > 1)
        for fact, values in facts.items()
        if any(value is not None for value in values)
    ]
    return part("by_run", names, lines) if lines else Markup("")


def image(data: bytes, kind: str, text: str) -> Markup:
    """Renders a picture embedded in the page.

    Args:
        data: content of the file.
        kind: `jpeg` or `png`.
        text: alternative text.
    """
    return part("image", encoded(data), kind, text)


def encoded(data: bytes) -> str:
    """Returns a file as text."""
    return base64.b64encode(data).decode()


def _cell(value: Any) -> tuple[str, bool]:
    """Returns a cell and whether it may be broken; numbers and short words are not, because half a number misleads."""
    text = "" if value is None else str(value)
    return text, len(text) > LONG
