"""Segments with a label, a start and an end, found in scores over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinema.errors import KinemaError, unknown


@dataclass(frozen=True)
class SegmentRule:
    """The rule for the start and the end of an action.

    A segment of a class begins when its smoothed score reaches `threshold`, and it ends when the score falls below
    `release` or a segment of another class begins. Shorter segments than `shortest` are discarded. All remaining time
    is "no action".

    Attributes:
        threshold: score at which a segment begins, above 0, at most 1.
        release: score below which it ends, at most `threshold` (hysteresis).
        shortest: minimum length in seconds.
        smoothing: length in seconds of the moving average of past scores; 0 is no smoothing.
        lag: seconds by which scores trail the action. A causal network recognises an action only some time after its
            start, and still for some time after its end; segments are moved back by this time.
    """

    threshold: float = 0.5
    release: float = 0.4
    shortest: float = 0.5
    smoothing: float = 0.0
    lag: float = 0.0

    def __post_init__(self) -> None:
        for name in ("threshold", "release", "shortest", "smoothing", "lag"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
                raise KinemaError(f"{name} is {value!r}: give a number")
        if not 0 < self.threshold <= 1:
            raise KinemaError(f"threshold is {self.threshold:g}: give a score above 0 and at most 1")
        if not 0 <= self.release <= self.threshold:
            raise KinemaError(f"release is {self.release:g}: give a score from 0 to threshold ({self.threshold:g})")
        for name in ("shortest", "smoothing", "lag"):
            if getattr(self, name) < 0:
                raise KinemaError(f"{name} is {getattr(self, name):g}: give seconds of at least 0")

    def to_dict(self) -> dict[str, float]:
        """Returns plain values for a card."""
        return asdict(self)


@dataclass(frozen=True)
class Segment:
    """A time span in which one action is seen.

    Attributes:
        label: label of the action.
        t_start: seconds.
        t_end: seconds.
        score: mean of the smoothed scores of the label from start to end, before the correction of the lag.
        t_known: seconds at which the label was first known: the segment had the minimum length, and all frames behind
            its scores had been seen.
    """

    label: str
    t_start: float
    t_end: float
    score: float
    t_known: float

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)


def moved_back(segments: Sequence[Segment], lag: float) -> list[Segment]:
    """Moves segments back by `lag` seconds, but not before 0; segments that become empty are removed."""
    if not lag:
        return list(segments)
    moved = (replace(s, t_start=max(0.0, s.t_start - lag), t_end=s.t_end - lag) for s in segments)
    return [s for s in moved if s.t_end > s.t_start]


class Segmenter:
    """Finds segments while scores arrive; keeps only the scores that the smoothing needs.

    Args:
        labels: K names, in the order of the scores.
        rule: when a segment begins and ends.
        background: labels that mean "no action" and never form a segment.
    """

    def __init__(self, labels: Sequence[str], rule: SegmentRule, background: Sequence[str] = ()) -> None:
        for label in background:
            if label not in labels:
                raise unknown("background label", label, labels)
        self.labels, self.rule = tuple(labels), rule
        self._ground = np.array([label in background for label in labels], dtype=bool)
        self._recent: list[tuple[float, float, NDArray[np.float64]]] = []
        self._class: int | None = None
        self._start = self._until = 0.0
        self._known: float | None = None
        self._scores: list[tuple[float, float]] = []  # (seconds, score) of the open segment

    def feed(self, t_start: float, t_end: float, scores: ArrayLike, known: float | None = None) -> list[Segment]:
        """Adds the scores of the next time span.

        Args:
            t_start: seconds, not before the end of the previous span.
            t_end: seconds.
            scores: K, from 0 to 1.
            known: seconds at which all frames behind the scores had been seen; None is `t_end`.

        Returns:
            The segments that have ended.
        """
        smoothed = self.smooth(t_start, t_end, np.asarray(scores, dtype=np.float64))
        best = int(np.where(self._ground, -1.0, smoothed).argmax())
        return self.advance(t_start, t_end, smoothed, best, t_end if known is None else known)

    def advance(
        self, t_start: float, t_end: float, smoothed: NDArray[np.float64], best: int, known: float
    ) -> list[Segment]:
        """Does the same as `feed`, for scores that are already smoothed.

        Args:
            t_start: seconds.
            t_end: seconds.
            smoothed: K.
            best: index of the label with the highest score, without the background labels.
            known: seconds.
        """
        top = 0.0 if self._ground[best] else float(smoothed[best])
        ended: list[Segment] = []
        if self._class is not None:
            own = float(smoothed[self._class])
            if own < self.rule.release or (top >= self.rule.threshold and top > own):
                ended = self.end()
        if self._class is None and top >= self.rule.threshold:
            self._class, self._start, self._scores, self._known = best, t_start, [], None
        if self._class is not None:
            self._until = t_end
            self._scores.append((t_end - t_start, float(smoothed[self._class])))
            if self._known is None and t_end - self._start >= self.rule.shortest:
                self._known = known
        return ended

    @property
    def until(self) -> float:
        """The end of the open segment so far, in seconds; if none is open, that of the last segment."""
        return self._until

    @property
    def open(self) -> str | None:
        """The label of the open segment, or None."""
        return None if self._class is None else self.labels[self._class]

    def end(self) -> list[Segment]:
        """Ends the open segment, at the end of the stream or before a gap."""
        if self._class is None:
            return []
        label, known = self.labels[self._class], self._known
        self._class = None
        if known is None:  # too short
            return []
        weights, values = np.array(self._scores).T
        score = float(np.average(values, weights=weights)) if weights.sum() > 0 else float(values.mean())
        return moved_back([Segment(label, self._start, self._until, score, known)], self.rule.lag)

    def smooth(self, t_start: float, t_end: float, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the mean of the scores over the smoothing time up to the end of this span, and drops older scores."""
        self._recent.append((t_start, t_end, scores))
        begin = t_end - self.rule.smoothing
        self._recent = [part for part in self._recent if part[1] > begin] or [self._recent[-1]]
        if len(self._recent) == 1:
            return scores
        weights = np.array([max(1e-9, b - max(a, begin)) for a, b, _ in self._recent])
        return np.average([values for *_, values in self._recent], axis=0, weights=weights)
