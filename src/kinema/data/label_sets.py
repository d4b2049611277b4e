"""Several labels per video: one cell of a CSV contains them, separated by semicolons: `sit;read`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

SEPARATOR = ";"


class LabelSet(NamedTuple):
    """Set of the outputs that should be on for a video with any number of labels.

    Attributes:
        on: indices of its labels.
        classes: K, number of outputs.
    """

    on: tuple[int, ...]
    classes: int


Target = int | LabelSet  # one label, or any number of labels


def label_set(text: str) -> tuple[str, ...]:
    """Returns the labels of a cell, sorted, without duplicates; none for a single `;`."""
    parts = (part.strip() for part in text.split(SEPARATOR))
    return tuple(sorted({part for part in parts if part}))


def joined(labels: Iterable[str]) -> str:
    """Returns the cell that contains these labels: `;` for none."""
    return SEPARATOR.join(sorted(labels)) or SEPARATOR


def mirrored(text: str, flip_map: Mapping[str, str]) -> str:
    """Returns the labels of a mirrored clip, in the form that `joined` writes."""
    return joined({flip_map.get(label, label) for label in label_set(text)})
