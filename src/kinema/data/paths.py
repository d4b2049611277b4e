"""Paths as people write them in a table: with surrounding spaces, Windows paths, `~` for the home folder, addresses."""

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

# Characters that may be spelled in another way on disk. Only then the disk is queried: a table may have a million rows.
_ODD = re.compile(r"^\s|\s$|^~|^file:|\\|[^\x00-\x7f]", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def locate(root: Path, text: str) -> Path:
    r"""Returns the file or folder that a path means.

    This is the path as it is written. If it does not exist, further forms are tried: without surrounding spaces, with
    `/` for `\`, with the home folder for `~`, from a `file://` address, or in the other Unicode form of its accents.

    Args:
        root: start of relative paths.
        text: the path.

    Returns:
        The first of these that exists; the path as it is written if none exists.
    """
    if _ODD.search(text):
        for candidate in _spellings(text):
            if os.path.exists(root / candidate):  # noqa: PTH110 - Path.exists() raises if a name is too long
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
        found.append(os.path.expanduser(plain))  # noqa: PTH111 - Path.expanduser() raises if there is no such user
    if "\\" in text:
        found += [text.replace("\\", "/"), plain.replace("\\", "/")]
    for spelling in dict.fromkeys(found):
        yield spelling
        for form in ("NFC", "NFD"):
            yield unicodedata.normalize(form, spelling)


def doubt(text: str) -> str:
    """Describes what is unusual about a path that does not exist, as in `the path is …`; empty if nothing is.

    Args:
        text: the path as it is written.
    """
    name = re.split(r"[\\/]", text)[-1]
    if text != text.strip() or name != name.strip():
        return "one with spaces at the beginning or end"
    if _DRIVE.match(text) or text.startswith("\\\\"):
        return "a Windows path" if os.sep == "/" else ""
    if re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE):
        return "an address and not a path"
    if "\\" in text and os.sep == "/":
        return "one with \\ where this system has /"
    return ""


def nearest_name(path: Path) -> str:
    """Returns `, did you mean …` for a path that does not exist, or an empty text."""
    folder = path.parent
    try:
        names = [p.name for p in folder.iterdir()] if is_folder(folder) else []
    except OSError:
        names = []
    near = near_names(path.name, names)
    return f", did you mean {str(folder / near[0])!r}" if near else ""


def relative(path: str, root: Path) -> str:
    """Returns a path as the files of a test spell it: relative to the data if it is below them, else unchanged."""
    inside = Path(path)
    return printable(inside.relative_to(root).as_posix() if inside.is_relative_to(root) else path)
