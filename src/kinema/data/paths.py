"""Paths as people write them in a table: with spaces around them, from Windows, from home, or as an address."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kinema.errors import near_names
from kinema.files import is_folder
from kinema.text import printable

# What may be spelled otherwise on the disk. Only then the disk is asked: a table may have a million rows.
_ODD = re.compile(r"^\s|\s$|^~|^file:|\\|[^\x00-\x7f]", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def locate(root: Path, text: str) -> Path:
    r"""The file or folder that a path means.

    As it is written, or where nothing is there: without the space around it, with `/` for `\`, with the home folder for
    `~`, from a `file://` address, or in the other Unicode form of its accents.

    Args:
        root: that a relative path begins at.
        text: the path.

    Returns:
        The first of these that exists; as it is written where none does.
    """
    if _ODD.search(text):
        for candidate in _spellings(text):
            if os.path.exists(root / candidate):  # noqa: PTH110 - Path.exists() raises where a name is too long
                return root / candidate
    return root / text


def _spellings(text: str) -> Iterator[str]:
    plain = text.strip()
    found = [text, plain]
    if plain.lower().startswith("file:"):
        address = urlsplit(plain)
        path = unquote(address.path)
        found.append(path[1:] if _DRIVE.match(path[1:]) else path)
    if plain.startswith("~"):
        found.append(os.path.expanduser(plain))  # noqa: PTH111 - Path.expanduser() raises where there is no such user
    if "\\" in text:
        found += [text.replace("\\", "/"), plain.replace("\\", "/")]
    for spelling in dict.fromkeys(found):
        yield spelling
        for form in ("NFC", "NFD"):
            yield unicodedata.normalize(form, spelling)


def doubt(text: str) -> str:
    """What is odd about a path that does not exist, as in `the path is …`; empty where nothing is.

    Args:
        text: the path as it is written.
    """
    name = re.split(r"[\\/]", text)[-1]
    if text != text.strip() or name != name.strip():
        return "one with spaces at its beginning or end"
    if _DRIVE.match(text) or text.startswith("\\\\"):
        return "a path of Windows" if os.sep == "/" else ""
    if re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE):
        return "an address and not a path"
    if "\\" in text and os.sep == "/":
        return "one with \\ where this system has /"
    return ""


def nearest_name(path: Path) -> str:
    """`, did you mean …` for a path that does not exist, or nothing."""
    folder = path.parent
    try:
        names = [p.name for p in folder.iterdir()] if is_folder(folder) else []
    except OSError:
        names = []
    near = near_names(path.name, names)
    return f", did you mean {str(folder / near[0])!r}" if near else ""


def relative(path: str, root: Path) -> str:
    """A path as the files of a test name it: below the data, so that the data may move; else as it is."""
    inside = Path(path)
    return printable(inside.relative_to(root).as_posix() if inside.is_relative_to(root) else path)
