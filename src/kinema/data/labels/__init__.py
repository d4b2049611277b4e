"""Class names of public data sets, one file each, in the order in which public releases have their outputs."""

from __future__ import annotations

from importlib.resources import files

from kinema.errors import unknown


def known_labels() -> list[str]:
    """The lists that are here."""
    return sorted(entry.name[:-4] for entry in files(__name__).iterdir() if entry.name.endswith(".txt"))


def read_labels(name: str) -> tuple[str, ...]:
    """The class names of a data set; an unknown one raises `KinemaError` with the nearest."""
    if name not in known_labels():
        raise unknown("list of class names", name, known_labels())
    text = files(__name__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip())
