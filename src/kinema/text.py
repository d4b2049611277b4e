"""Formats text for messages, and parses JSON of unknown origin."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any


def plural(number: int, noun: str) -> str:
    """Formats a number with its noun: `1 video`, `2 videos`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    r"""Returns the text as UTF-8 can encode it: a file name's byte that is not UTF-8 becomes `\udce9`, also in JSON."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def first_line(error: BaseException) -> str:
    """Returns the message of a library's error on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = (lines or [type(error).__name__])[0].rstrip(".:")
    return text if len(text) <= 200 else f"{text[:200]}…"


def parse_json(text: str | bytes) -> Any:
    """Same as `json.loads`, for untrusted text: every kind of invalid text raises `ValueError`.

    `json.loads` itself raises `RecursionError`, which is not a `ValueError`, for some thousand nested brackets.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def matching_names(names: Iterable[str], pattern: str) -> list[str]:
    """Returns the names of networks that match a shell pattern (`stm_*`), sorted.

    A pattern without wildcards matches names with a part that begins with it: `stm` does not match `lstm_head`, `50`
    matches `r3d_50`. If no name has such a part, it matches the names that contain it.

    Args:
        names: names to choose from.
        pattern: shell pattern.
    """
    if any(c in pattern for c in "*?["):
        return sorted(name for name in names if fnmatchcase(name, pattern))
    inside = sorted(name for name in names if pattern in name)
    return [name for name in inside if f"_{pattern}" in f"_{name}"] or inside
