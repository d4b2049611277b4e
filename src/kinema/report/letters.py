"""Labels in figures, in any script.

The text of an SVG figure stays text, so that the browser draws it with its own fonts, and joins and orders Arabic
letters like in the rest of the page. Matplotlib only needs the width of a label. Its own font lacks most scripts: for
each missing letter it prints a warning and reserves too little space. It therefore gets a placeholder of about the
right width, which is replaced by the label in the finished SVG.
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
_MARKS = "\u200c\u200d"  # characters without width; they encode the number of a placeholder, which makes it unique


class Letters:
    """The labels of one figure."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}

    def __call__(self, label: str) -> str:
        """Returns the text for Matplotlib: the label itself if its font has all letters and there is room."""
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
        """Replaces the placeholders in an SVG text by the labels."""
        for stand_in, label in self._labels.items():
            svg = svg.replace(f">{escape(stand_in, quote=False)}<", f">{label}<")
        return svg


def needs_note(labels: Iterable[str]) -> bool:
    """Returns True if a label has letters that the font of the figures lacks; the browser then uses another font."""
    return any(not _has(letter) for label in labels for letter in _clean(label) if not _invisible(letter))


def _clean(label: str) -> str:
    """Returns the text on one line, without characters that XML or UTF-8 forbids."""
    spaced = "".join(" " if letter.isspace() else letter for letter in printable(label))
    return "".join("\ufffd" if unicodedata.category(letter) in ("Cc", "Cn") else letter for letter in spaced)


def _shortened(label: str) -> str:
    """Shortens a long label by removing its middle, because labels often differ in their last words."""
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
    while tail < len(label) and _invisible(label[tail]):  # do not separate a mark from its letter
        tail += 1
    return f"{label[:head].rstrip()} … {label[tail:].lstrip()}"


def _width(letter: str) -> float:
    """Returns the approximate width in em."""
    return 0.0 if _invisible(letter) else 1.0 if _is_wide(letter) else 0.57


def _stand_in(letter: str) -> str:
    if letter == "$":  # two of them would start a formula
        return "0"
    if _has(letter) and letter not in _MARKS:
        return letter
    if _invisible(letter):
        return ""
    return (_EMOJI if unicodedata.category(letter) == "So" else _WIDE) if _is_wide(letter) else _NARROW


def _is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in "WF"


def _invisible(letter: str) -> bool:
    """Returns True for combining marks, joiners and variation selectors."""
    return unicodedata.category(letter) in ("Mn", "Me", "Cf") or "\U0001f3fb" <= letter <= "\U0001f3ff"


@cache
def _font() -> FT2Font:
    return FT2Font(findfont("DejaVu Sans"))  # lies in Matplotlib itself


@cache
def _has(letter: str) -> bool:
    return _font().get_char_index(ord(letter)) != 0
