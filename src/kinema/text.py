"""Text for people: file names that any terminal can show, and numbers of things; and text of others: JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any


def plural(number: int, noun: str) -> str:
    """`1 video`, `2 videos`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    r"""The text as UTF-8 can hold it: a byte of a file name that is not UTF-8 becomes `\udce9`, in JSON too."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def first_line(error: BaseException) -> str:
    """What an error of a library says, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = (lines or [type(error).__name__])[0].rstrip(".:")
    return text if len(text) <= 200 else f"{text[:200]}…"


def parse_json(text: str | bytes) -> Any:
    """As `json.loads`, for text that may come from anywhere: whatever is wrong with it raises `ValueError`.

    `json.loads` raises `RecursionError` for brackets that are nested some thousand deep, which is no `ValueError`.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def matching_names(names: Iterable[str], pattern: str) -> list[str]:
    """The names of networks that match a shell pattern (`stm_*`), sorted.

    Without a wildcard, those with a part that begins so: `stm` is not in `lstm_head`, `50` is in `r3d_50`. Where no
    part does, those that contain it.

    Args:
        names: to choose from.
        pattern: of names.
    """
    if any(c in pattern for c in "*?["):
        return sorted(name for name in names if fnmatchcase(name, pattern))
    inside = sorted(name for name in names if pattern in name)
    return [name for name in inside if f"_{pattern}" in f"_{name}"] or inside
