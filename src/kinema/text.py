"""How the files of a test and the commands write the paths of videos."""

from __future__ import annotations

from pathlib import Path


def relative(path: str, root: Path) -> str:
    """A path as the files of a test name it: below the data, so that the data may move; else as it is."""
    inside = Path(path)
    return printable(inside.relative_to(root).as_posix() if inside.is_relative_to(root) else path)


def printable(text: str) -> str:
    r"""The text as UTF-8 can hold it: a byte of a file name that is not UTF-8 becomes `\udce9`, in JSON too."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
