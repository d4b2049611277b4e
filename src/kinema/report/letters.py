"""Labels in figures, in any script.

The text of an SVG figure stays text, so that the browser draws it with its own fonts, joins Arabic letters and orders
them, as it does for the rest of the page. Matplotlib only has to know how much room a label takes. Its own font lacks
most scripts, and for each missing letter it prints a warning and reserves too little room. So it gets a stand-in of
about the right width, which is exchanged for the label in the finished SVG.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache
from html import escape

from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font

from kinema.text import printable

NOTE = (
    "Labels are drawn with the fonts of the browser: where boxes stand instead of letters, install a font for their "
    "script, such as Noto Sans CJK for Chinese, Japanese and Korean."
)
_MOST = 24  # em of a label in a figure
_WIDE, _EMOJI, _NARROW = "—", "—.", "n"  # 1, 1.3 and 0.6 em
_MARKS = "\u200c\u200d"  # without width; in the stand-in they write its number, so that it occurs nowhere else


class Letters:
    """The labels of one figure."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}

    def __call__(self, label: str) -> str:
        """What to give to Matplotlib for a label: the label itself where its font has all letters and there is room."""
        shown = _clean(label)
        short = _shortened(shown)
        stand_in = "".join(map(_stand_in, short))
        if stand_in == shown == label:
            return label
        number = f"{len(self._labels):b}".translate({48: _MARKS[0], 49: _MARKS[1]})
        marked = f"{stand_in}{_MARKS[0]}{number}{_MARKS[0]}"
        title = "" if short == shown else f"<title>{escape(shown)}</title>"
        self._labels[marked] = f"{escape(short)}{title}"
        return marked

    def restore(self, svg: str) -> str:
        """Exchanges the stand-ins in an SVG text for the labels."""
        for stand_in, label in self._labels.items():
            svg = svg.replace(f">{escape(stand_in, quote=False)}<", f">{label}<")
        return svg


def needs_note(labels: Iterable[str]) -> bool:
    """Whether a label has letters that the font of the figures lacks, and for which the browser takes another."""
    return any(not _has(letter) for label in labels for letter in _clean(label) if not _invisible(letter))


def _clean(label: str) -> str:
    """On one line, and without characters that XML or UTF-8 forbids."""
    spaced = "".join(" " if letter.isspace() else letter for letter in printable(label))
    return "".join("\ufffd" if unicodedata.category(letter) in ("Cc", "Cn") else letter for letter in spaced)


def _shortened(label: str) -> str:
    """A label that leaves no room for the figure loses its middle, since labels often differ in their last words."""
    widths = [_width(letter) for letter in label]
    if sum(widths) <= _MOST:
        return label
    head, tail, used = 0, len(label), 0.0
    while used + widths[head] <= _MOST * 0.6:
        used += widths[head]
        head += 1
    while used + widths[tail - 1] <= _MOST:
        used += widths[tail - 1]
        tail -= 1
    while tail < len(label) and _invisible(label[tail]):  # never a mark without its letter
        tail += 1
    return f"{label[:head].rstrip()} … {label[tail:].lstrip()}"


def _width(letter: str) -> float:
    """In em, roughly."""
    return 0.0 if _invisible(letter) else 1.0 if _is_wide(letter) else 0.57


def _stand_in(letter: str) -> str:
    if letter == "$":  # two of them would begin a formula
        return "0"
    if _has(letter) and letter not in _MARKS:
        return letter
    if _invisible(letter):
        return ""
    return (_EMOJI if unicodedata.category(letter) == "So" else _WIDE) if _is_wide(letter) else _NARROW


def _is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in "WF"


def _invisible(letter: str) -> bool:
    """Marks that stand above or below a letter, joiners, and what chooses between forms of a sign."""
    return unicodedata.category(letter) in ("Mn", "Me", "Cf") or "\U0001f3fb" <= letter <= "\U0001f3ff"


@cache
def _font() -> FT2Font:
    return FT2Font(findfont("DejaVu Sans"))  # lies in Matplotlib itself


@cache
def _has(letter: str) -> bool:
    return _font().get_char_index(ord(letter)) != 0
