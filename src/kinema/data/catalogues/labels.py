"""Official label lists, in the order of most public checkpoints, and what annotation files call the labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kinema.data.labels import read_labels
from kinema.data.sources import clean_label
from kinema.errors import KinemaError, unknown

# Pairs of official label indices, from 0 on, that a left-right flip exchanges.
FLIPS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "something_v1": ((2, 4), (30, 41), (52, 66)),
    "something_v2": ((86, 87), (93, 94), (166, 167)),
}


def flip_map(name: str) -> dict[str, str]:
    """What each left- or right-handed label becomes when a clip is mirrored; holds both directions."""
    labels = read_labels(name)
    pairs = [(labels[a], labels[b]) for a, b in FLIPS.get(name, ())]
    return dict(pairs) | {b: a for a, b in pairs}


def plain(text: str) -> str:
    """A name without case, space and punctuation: folders write `riding_a_bike`, lists `riding a bike`."""
    return re.sub(r"[\W_]+", "", text).casefold()


@dataclass(frozen=True)
class LabelList:
    """The labels of a data set, in the order of a network's outputs.

    Attributes:
        names: of the labels.
        source: the file or list they come from, for messages.
    """

    names: tuple[str, ...]
    source: str

    @cached_property
    def _by_plain(self) -> dict[str, str]:
        return {plain(name): name for name in self.names}

    def meaning(self, text: str) -> str | None:
        """The label that a text means, whatever its case, spaces and punctuation; None if it is none."""
        return self._by_plain.get(plain(text))

    def meanings(self, found: Mapping[str, int], file: Path) -> dict[str, str]:
        """What the texts in the label column of a file mean: names, or indices from 0 on.

        Args:
            found: every text, with the first line that it stands in.
            file: for messages.

        Raises:
            KinemaError: a text that is no label, indices that start at 1, or names and indices side by side.
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
        raise KinemaError(f"{file} line {found[text]}: {near} ({self.source} is the list; correct one of the two)")

    def _check_indices(self, indices: Iterable[int], file: Path) -> None:
        low, high, last = min(indices), max(indices), len(self.names) - 1
        if low >= 1 and high == last + 1:
            raise KinemaError(
                f"{file}: its labels run from {low} to {high}, but the indices of {self.source} run from 0 to {last}: "
                "subtract 1"
            )
        if high > last:
            raise KinemaError(
                f"{file}: holds the label index {high}, but those of {self.source} run from 0 to {last}: subtract 1 "
                "where they start at 1, or write names"
            )


def from_indices(indices: Mapping[str, int], file: Path, *, first: int = 0) -> LabelList:
    """The labels of a file that numbers them.

    Args:
        indices: label -> number.
        file: that they were read from.
        first: the number that the first label must have.

    Raises:
        KinemaError: the numbers start elsewhere, repeat or leave one out.
    """
    if not indices:
        raise KinemaError(f"{file} is empty: download it again")
    ordered = sorted(indices, key=indices.__getitem__)
    low = indices[ordered[0]]
    if low != first:
        raise KinemaError(f"{file}: its labels start at {low}, they must start at {first}: renumber them")
    for i, name in enumerate(ordered):
        if indices[name] != first + i:
            raise KinemaError(
                f"{file}: the label {name!r} has the number {indices[name]} where {first + i} is expected: number the "
                f"labels from {first} on without gaps"
            )
    return LabelList(tuple(clean_label(name) for name in ordered), str(file))
