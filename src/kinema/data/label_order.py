"""The order of labels, which decides the meaning of a network's outputs, and similar labels."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Literal

Order = Literal["file", "catalogue", "number", "text"]

_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")
_NUMBERED = re.compile(r"(\D*)(\d+)(\D*)")


def ordered(labels: Iterable[str]) -> tuple[tuple[str, ...], Order]:
    """Orders labels if nothing states an order.

    Labels that are all numbers (`0`, `2`, `10`, `-1`, `0.5`) and labels that differ only in one number (`class_2`,
    `class_10`) are ordered by that number, others as text.

    Args:
        labels: labels of a data set; duplicates count once.

    Returns:
        The labels, and `number` or `text` for how they were ordered.
    """
    names = sorted(set(labels))
    if names and all(map(_NUMBER.fullmatch, names)):
        return tuple(sorted(names, key=lambda name: (Decimal(name), name))), "number"
    parts = [_NUMBERED.fullmatch(name) for name in names]
    found = [part for part in parts if part is not None]
    if len(names) > 1 and len(found) == len(names) and len({(part[1], part[3]) for part in found}) == 1:
        return tuple(sorted(names, key=lambda name: (int(re.sub(r"\D", "", name)), name))), "number"
    return tuple(names), "text"


def outputs(labels: Sequence[str]) -> str:
    """Describes which output has which label, for a message: `0 is 'jump', 1 is 'run', …, 11 is 'wave'`."""
    shown = [f"{i} is {label!r}" for i, label in enumerate(labels)]
    return ", ".join(shown if len(shown) <= 4 else [*shown[:3], "…", shown[-1]])


def numbers_as_text(labels: Sequence[str]) -> str | None:
    """Finds the first label that numeric order would place elsewhere, if labels with numbers are sorted as text."""
    sorted_labels, order = ordered(labels)
    if order == "text" or list(labels) != sorted(labels):
        return None
    return next((label for label, other in zip(labels, sorted_labels, strict=True) if label != other), None)


def plain(label: str) -> str:
    """Normalises a label: removes differences in case, spaces, punctuation, Unicode form and leading zeros."""
    label = unicodedata.normalize("NFKC", label)
    if _NUMBER.fullmatch(label):
        return f"{Decimal(label).normalize():f}"
    return re.sub(r"[\W_]+", "", label).casefold() or label


def look_alike(label: str, others: Collection[str]) -> str | None:
    """Returns the first other label that `plain` makes equal, or None."""
    return next((other for other in sorted(others) if other != label and plain(other) == plain(label)), None)
