"""Draws text on pictures, in any script for which this machine has a font.

Latin, Greek, Cyrillic and other scripts use DejaVu Sans, which comes with Matplotlib. For other letters, the installed
fonts are searched. A letter that is in no font is drawn as a box.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from kinema.errors import KinemaWarning
from kinema.text import printable

Colour = tuple[int, int, int]

_JOINED = ("Mn", "Me", "Cf")  # categories of marks that belong to the preceding letter
_UNUSABLE = "last resort"  # draws a box for every letter of Unicode
_NAMED = 24  # letters that a warning lists
_PROBE = 16  # size in pixels at which a font must open; fonts of colour bitmaps do not


def clean(text: str) -> str:
    """Returns the text on one line, without control characters."""
    spaced = "".join(" " if letter.isspace() else letter for letter in printable(text))
    return "".join("\ufffd" if unicodedata.category(letter) in ("Cc", "Cn") else letter for letter in spaced)


def missing(texts: Iterable[str]) -> str:
    """Returns the letters, each once and sorted, that no installed font has."""
    letters = {letter for text in texts for letter in clean(text)}
    return "".join(sorted(x for x in letters if not _has(_default(), x) and not _mark(x) and _other(x) is None))


def warn_of_missing(texts: Iterable[str]) -> str:
    """Warns in one sentence about letters that no installed font has, and names a font to install.

    Args:
        texts: texts to be drawn.

    Returns:
        Those letters; empty, without a warning, if there are none.

    Warns:
        KinemaWarning: there are such letters.
    """
    lacking = missing(texts)
    if lacking:
        shown = lacking if len(lacking) <= _NAMED else f"{lacking[:_NAMED]}…"
        wide = any(unicodedata.east_asian_width(letter) in "WF" for letter in lacking)
        font = "Noto Sans CJK (fonts-noto-cjk on Debian and Ubuntu)" if wide else "one of the Noto family"
        warnings.warn(
            f"no installed font has the letters {shown}: boxes stand in their place; install a font for their script, "
            f"such as {font}",
            KinemaWarning,
            stacklevel=3,
        )
    return lacking


def width_of(text: str, size: int) -> int:
    """Returns the width of the text, in pixels."""
    return round(sum(_font(path, size).getlength(run) for run, path in _runs(clean(text))))


def fitted(text: str, size: int, width: int) -> str:
    """Cuts a part from the middle if the text is wider than `width` pixels: labels often differ at the end."""
    text = clean(text)
    if width_of(text, size) <= width:
        return text
    low, high = 0, len(text) - 1  # number of letters that are kept
    while low < high:
        kept = (low + high + 1) // 2
        if width_of(_without_middle(text, kept), size) <= width:
            low = kept
        else:
            high = kept - 1
    return _without_middle(text, low)


def wrapped(text: str, size: int, width: int, most: int) -> list[str]:
    """Breaks the text at spaces into at most `most` lines; the last line loses its middle if it is too long."""
    words = clean(text).split()
    lines: list[str] = []
    while words and len(lines) < most - 1:
        count = next((n for n in range(len(words), 1, -1) if width_of(" ".join(words[:n]), size) <= width), 1)
        lines.append(fitted(" ".join(words[:count]), size, width))
        words = words[count:]
    return [*lines, fitted(" ".join(words), size, width)] if words or not lines else lines


def line_height(size: int) -> int:
    """Returns the distance between lines of text, in pixels."""
    return round(size * 1.35)


def write(image: Image.Image, at: tuple[int, int], text: str, size: int, colour: Colour) -> None:
    """Draws one line of text.

    Args:
        image: RGB picture that is drawn on.
        at: left end and top of the line, in pixels.
        text: text in any script; control characters are replaced.
        size: size of an em, in pixels.
        colour: RGB colour.
    """
    draw = ImageDraw.Draw(image)
    x, y = float(at[0]), at[1] + size  # the baseline, which aligns letters of several fonts
    for run, path in _runs(clean(text)):
        font = _font(path, size)
        draw.text((round(x), y), run, fill=colour, font=font, anchor="ls")
        x += font.getlength(run)


def _without_middle(text: str, kept: int) -> str:
    head = (kept + 1) // 2
    tail = len(text) - (kept - head)
    while tail < len(text) and _mark(text[tail]):  # never separate a mark from its letter
        tail += 1
    return f"{text[:head].rstrip()}…{text[tail:].lstrip()}"


def _runs(text: str) -> list[tuple[str, str]]:
    """Splits the text into parts with one font each."""
    runs: list[tuple[str, str]] = []
    for letter in text:
        if runs and (_mark(letter) or letter == " "):
            path = runs[-1][1]
        else:
            path = _default() if _has(_default(), letter) else _other(letter) or _default()
        if runs and runs[-1][1] == path:
            runs[-1] = (runs[-1][0] + letter, path)
        else:
            runs.append((letter, path))
    return runs


def _mark(letter: str) -> bool:
    return unicodedata.category(letter) in _JOINED


@cache
def _default() -> str:
    import matplotlib

    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


@cache
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


@cache
def _letters(path: str) -> frozenset[int]:
    """Returns the code points of a font that can be opened at any size."""
    from matplotlib.ft2font import FT2Font

    try:
        _font(path, _PROBE)
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def _has(path: str, letter: str) -> bool:
    return ord(letter) in _letters(path)


@cache
def _other(letter: str) -> str | None:
    """Returns the first installed font that has a letter."""
    return next((path for path in _installed() if _has(path, letter)), None)


@cache
def _installed() -> tuple[str, ...]:
    """Returns the files of all fonts, upright ones of usual weight first.

    Matplotlib caches its list of fonts in a file, so that fonts installed later are not in it.
    """
    from matplotlib.font_manager import findSystemFonts, fontManager, ttfFontProperty
    from matplotlib.ft2font import FT2Font

    fonts = [font for font in fontManager.ttflist if _UNUSABLE not in font.name.lower()]
    known = {font.fname for font in fontManager.ttflist}
    for path in sorted({str(Path(found)) for found in findSystemFonts()} - known):
        try:
            font = ttfFontProperty(FT2Font(path))
        except (OSError, RuntimeError, ValueError):  # damaged, or a font of pictures
            continue
        fonts += [font] if _UNUSABLE not in font.name.lower() else []
    plain = sorted(fonts, key=lambda font: (font.style != "normal", abs(_weight(font.weight) - 400), font.fname))
    return tuple(dict.fromkeys(str(font.fname) for font in plain))


def _weight(weight: int | str) -> int:
    return weight if isinstance(weight, int) else 400
