"""From scores over time to segments with a label, a start and an end."""

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

    A segment of a class begins when its smoothed score rises to `threshold`, and it ends when the score falls below
    `release` or another class takes over. Stretches shorter than `shortest` are not segments. Everything else is "no
    action".

    Attributes:
        threshold: score at which a segment begins, above 0, at most 1.
        release: score below which it ends, at most `threshold` (hysteresis).
        shortest: seconds.
        smoothing: seconds over which scores are averaged, the ones before included; 0 takes them as they are.
        lag: seconds by which scores trail the action. A network that sees no future recognises an action only some way
            into it, and still shows it after its end; segments are moved back by so much.
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
        """Plain values for a card."""
        return asdict(self)


@dataclass(frozen=True)
class Segment:
    """A stretch of time in which one action is seen.

    Attributes:
        label: of the action.
        t_start: seconds.
        t_end: seconds.
        score: the mean of the smoothed scores of the label from start to end, before they are moved back by the lag.
        t_known: seconds, when the label could first be said: the segment had lasted as long as the rule asks, and what
            its scores are made from had been seen.
    """

    label: str
    t_start: float
    t_end: float
    score: float
    t_known: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def moved_back(segments: Sequence[Segment], lag: float) -> list[Segment]:
    """Segments that begin and end `lag` seconds before, though not before 0; what is then empty is left out."""
    if not lag:
        return list(segments)
    moved = (replace(s, t_start=max(0.0, s.t_start - lag), t_end=s.t_end - lag) for s in segments)
    return [s for s in moved if s.t_end > s.t_start]


class Segmenter:
    """Finds segments while scores arrive; memory is that of the smoothing.

    Args:
        labels: K names, in the order of the scores.
        rule: when a segment begins and ends.
        background: labels that stand for "no action" and never make a segment.
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
        """Takes the scores of the next stretch of time.

        Args:
            t_start: seconds, not before the end of the stretch before.
            t_end: seconds.
            scores: K, from 0 to 1.
            known: seconds, when everything had been seen that the scores are made from; None is `t_end`.

        Returns:
            The segments that have ended.
        """
        smoothed = self.smooth(t_start, t_end, np.asarray(scores, dtype=np.float64))
        best = int(np.where(self._ground, -1.0, smoothed).argmax())
        return self.advance(t_start, t_end, smoothed, best, t_end if known is None else known)

    def advance(
        self, t_start: float, t_end: float, smoothed: NDArray[np.float64], best: int, known: float
    ) -> list[Segment]:
        """Same as `feed`, for scores that are already smoothed.

        Args:
            t_start: seconds.
            t_end: seconds.
            smoothed: K.
            best: number of the label with the highest of them, the background left out.
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
        """Seconds, up to which the open segment lasts so far; of the last one where none is open."""
        return self._until

    @property
    def open(self) -> str | None:
        """The label of the segment that has begun and not ended, or None."""
        return None if self._class is None else self.labels[self._class]

    def end(self) -> list[Segment]:
        """Ends the segment that is open, at the end of the stream or of what is known of it."""
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
        """The mean of the scores over the seconds of smoothing that end with this stretch; keeps what it needs."""
        self._recent.append((t_start, t_end, scores))
        begin = t_end - self.rule.smoothing
        self._recent = [part for part in self._recent if part[1] > begin] or [self._recent[-1]]
        if len(self._recent) == 1:
            return scores
        weights = np.array([max(1e-9, b - max(a, begin)) for a, b, _ in self._recent])
        return np.average([values for *_, values in self._recent], axis=0, weights=weights)
