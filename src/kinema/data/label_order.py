"""The order of labels, which decides what each output of a network means, and how labels may be confused."""

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
    """Labels in the order that Kinema gives them where nothing states one.

    Labels that are all numbers (`0`, `2`, `10`, `-1`, `0.5`) and labels that differ in one number only (`class_2`,
    `class_10`) are ordered by the number, others as text.

    Args:
        labels: of a data set; doublets count once.

    Returns:
        The labels, and whether `number` or `text` decided.
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
    """Which output means which label, for a message: `0 is 'jump', 1 is 'run', …, 11 is 'wave'`."""
    shown = [f"{i} is {label!r}" for i, label in enumerate(labels)]
    return ", ".join(shown if len(shown) <= 4 else [*shown[:3], "…", shown[-1]])


def numbers_as_text(labels: Sequence[str]) -> str | None:
    """Of labels that contain numbers but stand in the order of text, the first that a number would put elsewhere."""
    sorted_labels, order = ordered(labels)
    if order == "text" or list(labels) != sorted(labels):
        return None
    return next((label for label, other in zip(labels, sorted_labels, strict=True) if label != other), None)


def plain(label: str) -> str:
    """What two labels have in common that differ only in case, space, punctuation, Unicode form or leading zeros."""
    label = unicodedata.normalize("NFKC", label)
    if _NUMBER.fullmatch(label):
        return f"{Decimal(label).normalize():f}"
    return re.sub(r"[\W_]+", "", label).casefold() or label


def look_alike(label: str, others: Collection[str]) -> str | None:
    """The first of other labels that differs from one only as `plain` says, or None."""
    return next((other for other in sorted(others) if other != label and plain(other) == plain(label)), None)
