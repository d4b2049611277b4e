"""Quality of segments: mean average precision at temporal overlaps, delay of the label, false alarms per hour."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kinema.errors import KinemaError
from kinema.evaluation.statistics import LEVEL

OVERLAPS = (0.3, 0.5, 0.7)
OPERATING = 0.5  # overlap for precision, recall and F1
_DELAY_OVERLAP = 0.3  # smallest overlap of a segment that counts as the label of an action
RESAMPLES = 1000


class FoundSegment(Protocol):
    """A found segment, such as `kinema.streaming.Segment`."""

    @property
    def label(self) -> str:
        """Label of the action."""

    @property
    def t_start(self) -> float:
        """Seconds."""

    @property
    def t_end(self) -> float:
        """Seconds."""

    @property
    def score(self) -> float:
        """Confidence of the segment."""

    @property
    def t_known(self) -> float:
        """Seconds at which the label was first known."""


@dataclass(frozen=True)
class TrueSegment:
    """An action in a video.

    Attributes:
        label: label of the action.
        t_start: seconds.
        t_end: seconds.
    """

    label: str
    t_start: float
    t_end: float


@dataclass(frozen=True)
class Film:
    """One video of a test of segments.

    Attributes:
        truth: the actions in it.
        found: the segments found in it; none if it could not be read.
        duration: seconds; None if it could not be read; its time is then not counted.
    """

    truth: tuple[TrueSegment, ...]
    found: tuple[FoundSegment, ...]
    duration: float | None


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % bootstrap interval over videos.

    Attributes:
        value: None if it is not defined, such as a delay if nothing was found.
        low: lower end; None if there are fewer than two videos.
        high: upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """Returns plain values for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class SegmentMetrics:
    """Quality of the segments of a recognizer.

    Attributes:
        map: overlap (tIoU) -> mean average precision over the classes of the truth, 0 to 1.
        per_class: overlap 0.5 -> average precision of each class.
        precision: at overlap 0.5, 0 to 1: share of the segments that match an action.
        recall: at overlap 0.5, 0 to 1: share of the actions that a segment matches.
        f1: harmonic mean of the two.
        delay: median seconds from the onset of an action to its label, over the labelled actions: those that a segment
            of their class matches at an overlap of 0.3. Negative if the label came before the onset.
        labelled: share of the actions that have a delay.
        false_alarms: per hour of video: segments that do not overlap with any action of their class.
        hours: duration of the readable videos.
        actions: number of true actions.
        segments: number of found segments.
        expected: number of videos.
        read: number of readable videos.
    """

    map: Mapping[float, Figure]
    per_class: Mapping[str, float]
    precision: float | None
    recall: float | None
    f1: float
    delay: Figure
    labelled: float | None
    false_alarms: Figure
    hours: float
    actions: int
    segments: int
    expected: int
    read: int

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            "map": {f"{overlap:g}": figure.to_dict() for overlap, figure in self.map.items()},
            "per_class": dict(self.per_class),
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "delay": self.delay.to_dict(),
            "labelled": self.labelled,
            "false_alarms_per_hour": self.false_alarms.to_dict(),
            "hours": self.hours,
            "actions": self.actions,
            "segments": self.segments,
            "coverage": {"expected": self.expected, "read": self.read, "failed": self.expected - self.read},
        }


def measure_segments(
    films: Sequence[Film], *, overlaps: Sequence[float] = OVERLAPS, resamples: int = RESAMPLES, seed: int = 0
) -> SegmentMetrics:
    """Compares found segments with the true actions of videos.

    As in the evaluation of ActivityNet, segments of a class are matched in the order of their scores, each to the
    unmatched action of its class and video with the highest overlap, if the overlap reaches the limit. The average
    precision is the area under the monotonic precision curve; classes without an action do not count. All actions of an
    unreadable video count as missed. Intervals are percentiles over bootstrap samples of whole videos.

    Args:
        films: at least one video, with at least one action in total.
        overlaps: limits of temporal intersection over union, above 0, at most 1.
        resamples: number of bootstrap samples; 0 for no intervals.
        seed: seed of the samples.

    Raises:
        KinemaError: there is no action, or an overlap is outside (0, 1].

    Source: ActivityNet challenge 2016 (detection), Caba Heilbron et al., CVPR 2015.
    """
    if not any(film.truth for film in films):
        raise KinemaError("the videos contain no action: give videos with at least one labelled segment")
    if not all(0 < overlap <= 1 for overlap in overlaps):
        raise KinemaError(f"overlaps are {list(overlaps)}: give numbers above 0 and at most 1")
    draws = _draws(len(films), resamples, seed)
    wanted = sorted({*overlaps, OPERATING, _DELAY_OVERLAP})
    tables = {overlap: [match_segments(film.truth, film.found, overlap) for film in films] for overlap in wanted}
    maps = {overlap: _figure(*_mean_precision(films, tables[overlap], draws)[:2]) for overlap in overlaps}
    hits = sum(int((match >= 0).sum()) for match in tables[OPERATING])
    actions, segments = sum(len(film.truth) for film in films), sum(len(film.found) for film in films)
    delays = [
        np.array([found.t_known - film.truth[i].t_start for found, i in zip(film.found, match, strict=True) if i >= 0])
        for film, match in zip(films, tables[_DELAY_OVERLAP], strict=True)
    ]
    alarms = np.array([_false_alarms(film) for film in films], dtype=float)
    hours = np.array([(film.duration or 0.0) / 3600 for film in films])
    return SegmentMetrics(
        map=maps,
        per_class=_mean_precision(films, tables[OPERATING], draws[:0])[2],
        precision=hits / segments if segments else None,
        recall=hits / actions,
        f1=2 * hits / (actions + segments),
        delay=_figure(_median(delays), [_median([delays[i] for i in draw]) for draw in draws]),
        labelled=sum(map(len, delays)) / actions,
        false_alarms=_figure(_rate(alarms, hours), [_rate(alarms[draw], hours[draw]) for draw in draws]),
        hours=float(hours.sum()),
        actions=actions,
        segments=segments,
        expected=len(films),
        read=sum(film.duration is not None for film in films),
    )


def f1_at(films: Sequence[Film], overlap: float = OPERATING) -> float:
    """Returns the F1 of the segments of videos: twice the matches divided by the sum of actions and segments.

    Args:
        films: the videos, with at least one action or segment in total.
        overlap: limit of temporal intersection over union.
    """
    hits = sum(int((match_segments(film.truth, film.found, overlap) >= 0).sum()) for film in films)
    return 2 * hits / max(1, sum(len(film.truth) + len(film.found) for film in films))


def match_segments(truth: Sequence[TrueSegment], found: Sequence[FoundSegment], overlap: float) -> NDArray[np.int64]:
    """Matches the segments of one video to its actions.

    Args:
        truth: the actions.
        found: the segments.
        overlap: limit of temporal intersection over union.

    Returns:
        int64 [found]: the index of the action, or -1. No action is matched twice.
    """
    match = np.full(len(found), -1, np.int64)
    free = [True] * len(truth)
    for i in sorted(range(len(found)), key=lambda i: -found[i].score):
        best, place = overlap, -1
        for j, action in enumerate(truth):
            if free[j] and action.label == found[i].label:
                value = temporal_iou((found[i].t_start, found[i].t_end), (action.t_start, action.t_end))
                if value > best or (value >= best and place < 0):
                    best, place = value, j
        if place >= 0:
            match[i], free[place] = place, False
    return match


def temporal_iou(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Returns the intersection over union of two time spans, 0 to 1; 0 if both are empty."""
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - shared
    return shared / union if union > 0 else 0.0


def _false_alarms(film: Film) -> int:
    return sum(
        not any(t.label == f.label and min(t.t_end, f.t_end) > max(t.t_start, f.t_start) for t in film.truth)
        for f in film.found
    )


def _mean_precision(
    films: Sequence[Film], matches: Sequence[NDArray[np.int64]], draws: NDArray[np.int64]
) -> tuple[float, list[float | None], dict[str, float]]:
    """Returns the mean average precision, that of every bootstrap sample of videos, and that of every class."""
    counts: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(len(films)))
    listed: dict[str, list[tuple[float, int, bool]]] = defaultdict(list)
    for number, (film, match) in enumerate(zip(films, matches, strict=True)):
        for action in film.truth:
            counts[action.label][number] += 1
        for found, place in zip(film.found, match, strict=True):
            listed[found.label].append((found.score, number, bool(place >= 0)))
    weights = np.ones((1 + len(draws), len(films)))
    for row, draw in enumerate(draws, 1):
        weights[row] = np.bincount(draw, minlength=len(films))
    values = np.stack([_precision(listed[label], weights, weights @ counts[label]) for label in sorted(counts)])
    there = ~np.isnan(values)
    sums = np.where(there, values, 0).sum(0)
    means = [float(s / n) if n else None for s, n in zip(sums, there.sum(0), strict=True)]
    whole = means[0]
    assert whole is not None
    return whole, means[1:], dict(zip(sorted(counts), values[:, 0].tolist(), strict=True))


def _precision(
    found: list[tuple[float, int, bool]], weights: NDArray[np.float64], actions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns the average precision of a class for every row of weights of videos; NaN without an action."""
    if not found:
        return np.where(actions > 0, 0.0, np.nan)
    ordered = sorted(found, key=lambda f: -f[0])
    weight = weights[:, [number for _, number, _ in ordered]]  # rows, segments
    hit = np.array([right for *_, right in ordered])
    hits, all_found = np.cumsum(weight * hit, 1), np.cumsum(weight, 1)
    precision = hits / np.maximum(all_found, 1e-12)
    envelope = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    gains = (envelope * weight * hit).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(actions > 0, gains / actions, np.nan)


def _draws(films: int, resamples: int, seed: int) -> NDArray[np.int64]:
    if films < 2:  # all bootstrap samples would be equal
        resamples = 0
    return np.random.default_rng(seed).integers(0, films, (resamples, films))


def _figure(value: float | None, drawn: Iterable[float | None]) -> Figure:
    values = [v for v in drawn if v is not None]
    if value is None or not values:
        return Figure(value)
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Figure(value, float(low), float(high))


def _median(parts: Sequence[NDArray[np.float64]]) -> float | None:
    values = np.concatenate(list(parts)) if len(parts) else np.empty(0)
    return float(np.median(values)) if len(values) else None


def _rate(alarms: NDArray[np.float64], hours: NDArray[np.float64]) -> float | None:
    total = float(hours.sum())
    return float(alarms.sum()) / total if total > 0 else None
