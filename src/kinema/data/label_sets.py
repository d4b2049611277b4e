"""Several labels per video, which one cell of a CSV holds between semicolons: `sit;read`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

SEPARATOR = ";"


class LabelSet(NamedTuple):
    """The outputs that a video with any number of labels should turn on.

    Attributes:
        on: indices of its labels.
        classes: K, number of outputs.
    """

    on: tuple[int, ...]
    classes: int


Target = int | LabelSet  # of one label, or of any number


def label_set(text: str) -> tuple[str, ...]:
    """The labels of a cell, sorted, each once; none for `;` alone."""
    parts = (part.strip() for part in text.split(SEPARATOR))
    return tuple(sorted({part for part in parts if part}))


def joined(labels: Iterable[str]) -> str:
    """The cell that holds these labels: `;` for none."""
    return SEPARATOR.join(sorted(labels)) or SEPARATOR


def mirrored(text: str, flip_map: Mapping[str, str]) -> str:
    """The labels of a clip that has been mirrored, as `joined` writes them."""
    return joined({flip_map.get(label, label) for label in label_set(text)})
