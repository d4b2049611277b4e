"""Class names of public data sets, one file each, in the output order of public releases."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

from kinema.data.sources import clean_label
from kinema.errors import KinemaError, unknown
from kinema.tables import read_text


def known_labels() -> list[str]:
    """Returns the names of the available lists."""
    return sorted(entry.name[:-4] for entry in files(__name__).iterdir() if entry.name.endswith(".txt"))


def read_labels(name: str) -> tuple[str, ...]:
    """Returns the class names of a data set; for an unknown one, `KinemaError` suggests the nearest name."""
    if name not in known_labels():
        raise unknown("list of class names", name, known_labels())
    text = files(__name__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def read_label_file(file: Path) -> tuple[str, ...]:
    """Reads the labels of a text file, one per line, in its order.

    Raises:
        KinemaError: the file is neither UTF-8 nor UTF-16, has no label, or lists a label twice.
    """
    lines = re.split(r"\r\n|\n|\r", read_text(file))
    labels = tuple(label for label in map(clean_label, lines) if label)
    if not labels:
        raise KinemaError(f"{file} contains no label: write one per line")
    for name, times in Counter(labels).items():
        if times > 1:
            raise KinemaError(f"{file} lists {name!r} {times} times: list it once")
    return labels
