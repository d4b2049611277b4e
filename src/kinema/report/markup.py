"""The parts of a page as HTML, from the templates in this folder."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2", "#65a30d", "#db2777")
LONG = 24  # characters from which on a value may be broken


@cache
def environment(package: str = __package__) -> Environment:
    """The templates of a package beside those of the report.

    Args:
        package: its folder `templates` is looked through first.
    """
    return Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((package, __package__))]),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def part(name: str, *values: Any, **options: Any) -> Markup:
    """One of the macros in `parts.html`.

    Args:
        name: of the macro.
        *values: its arguments; text is escaped, `Markup` is not.
        **options: as `values`, by name.
    """
    return Markup(getattr(environment().get_template("parts.html").module, name)(*values, **options))


def joined(parts: Iterable[str]) -> Markup:
    """Parts below each other."""
    return Markup("").join(parts)


def colours(names: Sequence[str]) -> dict[str, str]:
    """The colour of every run, the same in all figures of a page."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def note(text: str) -> Markup:
    """A sentence in small print."""
    return part("note", text)


def caution(text: str) -> Markup:
    """A sentence that one has to know before the figures below it."""
    return part("caution", text)


def subtitle(text: str) -> Markup:
    """A heading inside a section."""
    return part("subtitle", text)


def tiles(entries: Iterable[tuple[str, str, Sequence[str]]]) -> Markup:
    """One box per entry: name, one large figure, and lines below it; each with the colour of its run on top."""
    return part("tiles", [(*entry, COLOURS[i % len(COLOURS)]) for i, entry in enumerate(entries)])


def grid(figures: Iterable[str], *, small: bool = False) -> Markup:
    """Figures beside each other where there is room, below each other where there is not.

    Args:
        figures: SVG or HTML.
        small: three of them fit beside each other, else two.
    """
    return part("grid", list(figures), small=small)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, numeric: bool = True) -> Markup:
    """A table; where it is wider than the screen it moves sideways under its first column.

    Args:
        head: names of the columns; empty names give no line of names.
        rows: of any values.
        numeric: all columns but the first are numbers and stand to the right.
    """
    lines = [["" if value is None else value for value in row] for row in rows]
    return part("table", head if any(head) else [], lines, numeric=numeric)


def by_run(names: Sequence[str], facts: Mapping[str, Sequence[Any]], *, mark: bool = False) -> Markup:
    """A table with a column per run and a line per fact, which fits a narrow screen.

    Facts that no run has are left out.

    Args:
        names: of the runs.
        facts: name -> one value per run, None if it is not known.
        mark: set off the lines in which the runs differ.
    """
    lines = [
        (fact, [_cell(value) for value in values], mark and len({str(value) for value in values}) > 1)
        for fact, values in facts.items()
        if any(value is not None for value in values)
    ]
    return part("by_run", names, lines) if lines else Markup("")


def image(data: bytes, kind: str, text: str) -> Markup:
    """A picture inside the page.

    Args:
        data: the file.
        kind: `jpeg` or `png`.
        text: in place of the picture.
    """
    return part("image", encoded(data), kind, text)


def encoded(data: bytes) -> str:
    """A file as text."""
    return base64.b64encode(data).decode()


def _cell(value: Any) -> tuple[str, bool]:
    """A cell and whether it may be broken: figures and short words are not, for half a figure is another one."""
    text = "" if value is None else str(value)
    return text, len(text) > LONG
