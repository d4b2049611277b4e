"""Parses the notation of a catalogue: `kinetics400:/data/k400`, `ucf101/2:/data/ucf` (official split 2)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from kinema.data.catalogues.base import NAMES
from kinema.errors import KinemaError, unknown
from kinema.files import look_up


@dataclass(frozen=True)
class Source:
    """A catalogue and its root folder.

    Attributes:
        name: one of `NAMES`.
        part: the official split, from 1.
        root: the folder that contains videos and annotation files.
    """

    name: str
    part: int
    root: Path

    @property
    def short(self) -> str:
        """Name for folders: `ucf101-2`, `kinetics400`."""
        return f"{self.name}-{self.part}" if NAMES[self.name] > 1 else self.name


def parse(data: str | Path) -> Source | None:
    """Returns the catalogue that a text names, or None if it is a path.

    Raises:
        KinemaError: the catalogue does not exist, has no root folder, or does not have that official split.
    """
    text = os.fspath(data)
    try:
        if look_up(text) is not None:
            return None
    except (OSError, ValueError):  # reading it later reports why it cannot be reached
        return None
    before, colon, root = text.partition(":")
    name, slash, part = before.partition("/")
    if not colon:
        if name in NAMES and (not slash or part.isdigit()):
            raise KinemaError(f"{text} is a catalogue without its folder: give {text}:FOLDER")
        return None
    # A single letter is a drive, `//` marks an address, and anything with a slash before the colon is a path.
    if not re.fullmatch(r"[\w-]{2,}", name) or root.startswith("//") or (part and name not in NAMES):
        return None
    if name not in NAMES:
        raise unknown("catalogue", name, NAMES)
    if not root:
        raise KinemaError(f"{text} is a catalogue without its folder: give {before}:FOLDER")
    return Source(name, _part(name, part if slash else "1", root), Path(root).expanduser())


def _part(name: str, text: str, root: str) -> int:
    parts = NAMES[name]
    if text.isdigit() and 1 <= int(text) <= parts:
        return int(text)
    if parts == 1:
        raise KinemaError(f"{name} has only one official split: give {name}:{root} instead of {name}/{text}:{root}")
    known = ", ".join(f"{name}/{i}" for i in range(1, parts + 1))
    raise KinemaError(f"{name} has no official split {text!r}: give one of {known} before :{root}")
