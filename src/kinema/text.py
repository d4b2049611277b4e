"""Text for people: file names that any terminal can show, and numbers of things."""

from __future__ import annotations


def plural(number: int, noun: str) -> str:
    """`1 video`, `2 videos`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    r"""The text as UTF-8 can hold it: a byte of a file name that is not UTF-8 becomes `\udce9`, in JSON too."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
