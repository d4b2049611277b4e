"""The registry of catalogues. Each module of this folder registers its own catalogue; no other code lists them."""

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
        name: name of the catalogue, the part before the colon of `name:FOLDER`. Its labels are in
            `data/labels/name.txt`.
        splits: number of official splits; the function receives the number of one split, from 1.

    Raises:
        KinemaError: a catalogue with that name already exists.
    """

    def register(read: Read) -> Read:
        if name in READERS:
            raise KinemaError(f"a catalogue {name!r} already exists: give this one another name")
        READERS[name], NAMES[name] = read, splits
        return read

    return register
