"""The parts of a video in which two recognizers see different actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinema.streaming.tracks import Track


@dataclass(frozen=True)
class Differing:
    """A part of a video to which two recognizers assign different classes.

    Attributes:
        t_start: seconds.
        t_end: seconds.
        first: the class with the highest score of the first recognizer; None if it could not read this part.
        second: the same for the second recognizer.
    """

    t_start: float
    t_end: float
    first: str | None
    second: str | None


def differing_parts(
    first: Track, first_labels: Sequence[str], second: Track, second_labels: Sequence[str]
) -> tuple[list[Differing], float]:
    """Finds the parts of a video in which the classes with the highest scores differ.

    Classes are compared by name, so two recognizers with different labels can be compared. A part that neither could
    read is not counted.

    Args:
        first: scores of the first recognizer over the video.
        first_labels: labels of its columns.
        second: scores of the second recognizer over the same video; its rows may be at other times.
        second_labels: labels of its columns.

    Returns:
        The parts in temporal order, and the agreement: of the time seen by at least one recognizer, the share (0 to 1)
        in which both give the same class.
    """
    borders = np.unique(np.concatenate([first.starts, first.ends, second.starts, second.ends]))
    found: list[Differing] = []
    same = seen = 0.0
    for start, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        middle = (start + end) / 2
        one, other = _top(first, first_labels, middle), _top(second, second_labels, middle)
        if one is None and other is None:
            continue
        seen += end - start
        if one == other:
            same += end - start
        elif found and found[-1].t_end == start and (found[-1].first, found[-1].second) == (one, other):
            found[-1] = Differing(found[-1].t_start, end, one, other)
        else:
            found.append(Differing(start, end, one, other))
    return found, same / seen if seen else 0.0


def _top(track: Track, labels: Sequence[str], time: float) -> str | None:
    row = int(np.searchsorted(track.starts, time, side="right")) - 1
    if row < 0 or time >= track.ends[row]:
        return None
    return labels[int(track.scores[row].argmax())]
