"""The table of catalogues: a module of this folder registers its own, and nothing else has to know it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kinema.data.catalogues.annotation import Annotation
from kinema.errors import KinemaError

Read = Callable[[Path, int], Annotation]
READERS: dict[str, Read] = {}
NAMES: dict[str, int] = {}  # name -> number of official splits


def catalogue(name: str, splits: int = 1) -> Callable[[Read], Read]:
    """Registers a function that reads the annotation files of a data set.

    Args:
        name: what stands in front of the folder, `name:FOLDER`. A list of its labels lies in `data/labels/name.txt`.
        splits: how many official splits there are; the function gets the number of one, from 1 on.

    Raises:
        KinemaError: there is a catalogue of that name already.
    """

    def register(read: Read) -> Read:
        if name in READERS:
            raise KinemaError(f"a catalogue {name!r} already exists: give this one another name")
        READERS[name], NAMES[name] = read, splits
        return read

    return register
