"""Official label lists, in the order of most public checkpoints, and the spellings of labels in annotation files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kinema.data.labels import read_labels
from kinema.data.sources import clean_label
from kinema.errors import KinemaError, unknown

# Pairs of official label indices, counted from 0, that a left-right flip exchanges.
FLIPS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "something_v1": ((2, 4), (30, 41), (52, 66)),
    "something_v2": ((86, 87), (93, 94), (166, 167)),
}


def flip_map(name: str) -> dict[str, str]:
    """Returns the label that each left- or right-handed label becomes when a clip is mirrored, in both directions."""
    labels = read_labels(name)
    pairs = [(labels[a], labels[b]) for a, b in FLIPS.get(name, ())]
    return dict(pairs) | {b: a for a, b in pairs}


def plain(text: str) -> str:
    """Removes case, spaces and punctuation from a name: folders write `riding_a_bike`, lists `riding a bike`."""
    return re.sub(r"[\W_]+", "", text).casefold()


@dataclass(frozen=True)
class LabelList:
    """The labels of a data set, in the order of a network's outputs.

    Attributes:
        names: the labels.
        source: the file or list that they come from, for messages.
    """

    names: tuple[str, ...]
    source: str

    @cached_property
    def _by_plain(self) -> dict[str, str]:
        return {plain(name): name for name in self.names}

    def meaning(self, text: str) -> str | None:
        """Returns the label that a text means, ignoring case, spaces and punctuation; None if there is none."""
        return self._by_plain.get(plain(text))

    def meanings(self, found: Mapping[str, int], file: Path) -> dict[str, str]:
        """Decides the meaning of the texts in the label column of a file: names, or indices from 0.

        Args:
            found: every text, with the number of its first line.
            file: the file, for messages.

        Raises:
            KinemaError: a text is not a label, indices start at 1, or names and indices are mixed.
        """
        meant = {text: self.meaning(text) for text in found}
        strange = [text for text, label in meant.items() if label is None]
        if not strange:
            return {text: label for text, label in meant.items() if label is not None}
        numbers = {text: int(text) for text in found if text.strip().isdecimal()}
        if len(numbers) == len(found):
            self._check_indices(numbers.values(), file)
            return {text: self.names[i] for text, i in numbers.items()}
        text = min(strange, key=found.__getitem__)
        if text in numbers:
            other = next(t for t in found if t not in numbers)
            raise KinemaError(
                f"{file} line {found[text]}: the label is the index {text}, but line {found[other]} has the name "
                f"{other!r}: write names everywhere"
            )
        near = unknown("label", text, self.names)
        raise KinemaError(f"{file} line {found[text]}: {near} (compare {self.source} and correct one of them)")

    def _check_indices(self, indices: Iterable[int], file: Path) -> None:
        low, high, last = min(indices), max(indices), len(self.names) - 1
        if low >= 1 and high == last + 1:
            raise KinemaError(
                f"{file}: its labels go from {low} to {high}, but the indices of {self.source} go from 0 to {last}: "
                "subtract 1"
            )
        if high > last:
            raise KinemaError(
                f"{file}: contains the label index {high}, but those of {self.source} go from 0 to {last}: subtract 1 "
                "if they start at 1, or write names"
            )


def from_indices(indices: Mapping[str, int], file: Path, *, first: int = 0) -> LabelList:
    """Orders the labels of a file that numbers them.

    Args:
        indices: label -> number.
        file: the file that they were read from.
        first: the required number of the first label.

    Raises:
        KinemaError: the numbers start elsewhere, repeat, or have a gap.
    """
    if not indices:
        raise KinemaError(f"{file} is empty: download it again")
    ordered = sorted(indices, key=indices.__getitem__)
    low = indices[ordered[0]]
    if low != first:
        raise KinemaError(f"{file}: its labels start at {low} but must start at {first}: renumber them")
    for i, name in enumerate(ordered):
        if indices[name] != first + i:
            raise KinemaError(
                f"{file}: the label {name!r} has the number {indices[name]} instead of {first + i}: number the "
                f"labels from {first} without gaps"
            )
    return LabelList(tuple(clean_label(name) for name in ordered), str(file))
