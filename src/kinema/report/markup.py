"""The parts of a page as HTML text: one file that needs nothing beside it, for screens from 500 pixels on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2", "#65a30d", "#db2777")
LONG = 24  # characters from which on a value may be broken


def colours(names: Sequence[str]) -> dict[str, str]:
    """The colour of every run, the same in all figures of a page."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def page(title: str, parts: Iterable[str]) -> str:
    """A whole HTML document."""
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>{_STYLE}"
    return f"{head}<main>{''.join(parts)}</main></html>\n"


def section(title: str, *parts: str) -> str:
    """A heading and what stands below it; nothing where all parts are empty."""
    return f"<h2>{escape(title)}</h2>{''.join(parts)}" if any(parts) else ""


def note(text: str) -> str:
    """A sentence in small print."""
    return f"<p class=note>{escape(text)}</p>"


def caution(text: str) -> str:
    """A sentence that one has to know before the figures below it."""
    return f"<p class=caution>{escape(text)}</p>"


def tiles(entries: Iterable[tuple[str, str, Sequence[str]]]) -> str:
    """One box an entry: name, one large figure, and lines below it; each with the colour of its run on top."""
    boxes = [
        f"<div class=tile style='border-top-color:{COLOURS[i % len(COLOURS)]}'><div class=name>{escape(name)}</div>"
        f"<div class=big>{escape(figure)}</div>{''.join(f'<div>{escape(line)}</div>' for line in lines)}</div>"
        for i, (name, figure, lines) in enumerate(entries)
    ]
    return f"<div class=tiles>{''.join(boxes)}</div>"


def grid(figures: Iterable[str], *, small: bool = False) -> str:
    """Figures beside each other where there is room, below each other where there is not.

    Args:
        figures: SVG or HTML.
        small: three of them fit beside each other, else two.
    """
    cells = "".join(f"<figure>{figure}</figure>" for figure in figures)
    return f"<div class='grid{' small' if small else ''}'>{cells}</div>"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, numeric: bool = True) -> str:
    """A table; where it is wider than the screen it moves sideways under its first column.

    Args:
        head: names of the columns; empty names give no line of names.
        rows: of any values.
        numeric: all columns but the first are numbers and stand to the right.
    """

    def cells(tag: str, row: Sequence[Any]) -> str:
        return "".join(
            f"<{tag}{' class=n' if numeric and i else ''}>{escape('' if value is None else str(value))}</{tag}>"
            for i, value in enumerate(row)
        )

    header = f"<tr>{cells('th', head)}</tr>" if any(head) else ""
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<div class=wide><table>{header}{body}</table></div>"


def by_run(names: Sequence[str], facts: Mapping[str, Sequence[Any]], *, mark: bool = False) -> str:
    """A table with a column a run and a line a fact, which fits a narrow screen; facts that no run has are left out.

    Args:
        names: of the runs.
        facts: name -> one value a run, None where it is not known.
        mark: set off the lines in which the runs differ.
    """
    lines = []
    for fact, values in facts.items():
        if all(value is None for value in values):
            continue
        differs = mark and len({str(value) for value in values}) > 1
        cells = "".join(map(_value, values))
        lines.append(f"<tr{' class=differs' if differs else ''}><td>{escape(fact)}</td>{cells}</tr>")
    header = "".join(f"<th class=n>{escape(name)}</th>" for name in names)
    return f"<div class=wide><table><tr><th></th>{header}</tr>{''.join(lines)}</table></div>" if lines else ""


def _value(value: Any) -> str:
    """A cell: figures and short words are never broken, for half a figure is another one."""
    text = "" if value is None else str(value)
    return f"<td class='n text'>{escape(text)}</td>" if len(text) > LONG else f"<td class=n>{escape(text)}</td>"


_STYLE = """<meta name=viewport content='width=device-width'><style>
*{box-sizing:border-box}
body{margin:0;background:#f8fafc;color:#1f2937;font:15px/1.55 system-ui,sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 18px 64px}
h1{font-size:30px;margin:0 0 6px}h2{font-size:19px;margin:38px 0 8px}h3{font-size:15px;margin:20px 0 4px}
.lead{font-size:16px;color:#374151;max-width:80ch}.note{color:#6b7280;font-size:13px;max-width:110ch}
.caution{border-left:4px solid #d97706;background:#fffbeb;margin:8px 0;padding:6px 12px;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:16px;margin:22px 0}
.tile{background:#fff;border:1px solid #e5e7eb;border-top:3px solid;border-radius:10px;padding:14px 18px}
.name{font-weight:600;overflow-wrap:anywhere}.big{font-size:38px;font-weight:700;line-height:1.25}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:14px;align-items:start}
.small{grid-template-columns:repeat(auto-fit,minmax(min(100%,350px),1fr))}
figure{margin:0;min-width:0}figure>svg{width:100%;height:auto;max-width:640px;display:block}
img{max-width:100%;border-radius:8px;border:1px solid #e5e7eb;background:#fff}
.wide{overflow-x:auto;margin:6px 0}
table{border-collapse:collapse;background:#fff;font-size:14px;font-variant-numeric:tabular-nums}
th,td{border-bottom:1px solid #e5e7eb;padding:5px 10px;text-align:left;vertical-align:top}
th{font-size:12px;color:#6b7280}
td:first-child{position:sticky;left:0;background:#fff}
.n{text-align:right}td.n{white-space:nowrap}td.text{white-space:normal;overflow-wrap:anywhere;min-width:14ch}
.differs td{background:#fffbeb}.differs td:first-child{font-weight:600}
code{background:#eef2f7;padding:1px 5px;border-radius:4px;overflow-wrap:anywhere}
.confusion{font-size:11px;border:0;background:none}.confusion caption{text-align:left;font-weight:600;font-size:14px}
.confusion td{width:26px;min-width:26px;height:24px;padding:0;text-align:center;vertical-align:middle}
.confusion td{border:1px solid #f1f5f9}
.confusion th{color:#1f2937;font-weight:400;padding:2px 5px;border:0;white-space:nowrap;vertical-align:bottom}
.confusion th:first-child{position:sticky;left:0;background:#f8fafc;text-align:right}
.confusion td:first-child{position:static}
.strip{margin:10px 0 14px}.strip img{display:block;margin-top:4px}
.frames{display:grid;grid-template-columns:repeat(auto-fill,minmax(120px,1fr));gap:12px}
.frames figcaption{font-size:13px;line-height:1.35;overflow-wrap:anywhere}
.legend{font-size:13px;line-height:1.7}.legend span{white-space:nowrap;margin-right:12px}
@media(max-width:560px){.confusion{font-size:10px}.confusion td{width:21px;min-width:21px;height:21px}}
.confusion span{writing-mode:vertical-rl;text-orientation:sideways;transform:rotate(180deg);line-height:1.1}
</style>"""
