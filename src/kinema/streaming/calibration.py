"""Calibration of segment thresholds on labelled videos, and measurement of segments on other videos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinema.data.loading.limits import ReadLimits
from kinema.data.manifest import Manifest
from kinema.data.split_names import VALIDATION
from kinema.errors import KinemaError, UnreadableVideo, unknown
from kinema.evaluation.segments import Film, SegmentMetrics, TrueSegment, f1_at, measure_segments
from kinema.recognizer import Recognizer
from kinema.streaming.segments import Segment, Segmenter, SegmentRule, moved_back
from kinema.streaming.timelines import GAP, SegmentSettings, find_segments
from kinema.streaming.tracks import Sight, Track, read_track

_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_RELEASES = (0.5, 0.75, 1.0)  # times the threshold
_SHORTEST = (0.0, 0.25, 0.5, 0.75)  # times the length of a short action, the tenth percentile
_SMOOTHING = (0.0, 0.25, 0.5, 1.0)  # times the median length of an action
_LAGS = (0.0, 0.25, 0.5, 0.75)  # times the same, in mode step; the scores of windows are centred


@dataclass(frozen=True)
class WatchedFilm:
    """A labelled video with the scores of a recognizer.

    Attributes:
        path: path of the video.
        truth: the actions in it.
        track: its scores, or None.
        error: why there are no scores, without the path, or None.
    """

    path: str
    truth: tuple[TrueSegment, ...]
    track: Track | None
    error: str | None = None


def calibration_split(manifest: Manifest, asked: str | None = None) -> str:
    """Returns the split on which thresholds are set.

    Args:
        manifest: labelled videos.
        asked: name of a split, or `all`; None is the validation split, or all videos if the data have no splits.

    Raises:
        KinemaError: there is no such split.
    """
    names = manifest.splits
    if asked is not None:
        if asked != "all" and asked not in names:
            raise unknown(f"split of {manifest.source}", asked, (*names, "all"))
        return asked
    found = next((name for name in names if name.lower() in VALIDATION), None)
    if found is None and not (manifest.held_out or len(names) == 1):
        raise KinemaError(
            f"{manifest.source} has no split val, on which thresholds are set by default: give --split, one of "
            f"{', '.join((*names, 'all'))}"
        )
    return found or "all"


def labelled_films(
    manifest: Manifest, labels: Sequence[str], background: Sequence[str] = ()
) -> dict[str, tuple[TrueSegment, ...]]:
    """Returns the actions in each video, in temporal order.

    Args:
        manifest: samples with `start` and `end`; a sample without them is the whole video.
        labels: labels of the recognizer.
        background: labels that mean "no action"; their samples are not actions.

    Returns:
        Path -> its actions.

    Raises:
        KinemaError: a label that the recognizer does not have.
    """
    films: dict[str, list[TrueSegment]] = {}
    for sample in manifest.samples:
        if sample.label not in labels and sample.label not in background:
            raise KinemaError(f"{manifest.source}: {unknown('label', sample.label, labels)}")
        actions = films.setdefault(sample.path, [])
        if sample.label not in background:
            actions.append(TrueSegment(sample.label, sample.start or 0.0, inf if sample.end is None else sample.end))
    return {path: tuple(sorted(actions, key=lambda a: a.t_start)) for path, actions in films.items()}


def watch_films(
    recognizer: Recognizer, films: Mapping[str, tuple[TrueSegment, ...]], sight: Sight, *, workers: int = 1,
    limits: ReadLimits | None = None, progress: Callable[[int, int], None] | None = None,
) -> list[WatchedFilm]:  # fmt: skip
    """Computes the scores of labelled videos.

    Args:
        recognizer: the recognizer.
        films: path -> its actions, from `labelled_films`.
        sight: how the recognizer is run on them.
        workers: as for `timeline`.
        limits: as for `timeline`.
        progress: called with the number of finished videos and their total.

    Returns:
        One entry per video: its scores over time, or the reason why it could not be read.
    """
    watched = []
    for done, (path, truth) in enumerate(films.items(), 1):
        try:
            track = read_track(recognizer, path, sight, workers=workers, limits=limits)
        except UnreadableVideo as error:
            watched.append(WatchedFilm(path, truth, None, error.reason))
        else:
            clipped = tuple(replace(a, t_end=min(a.t_end, track.duration)) for a in truth)
            watched.append(WatchedFilm(path, clipped, track))
        if progress is not None:
            progress(done, len(films))
    return watched


def measure_films(watched: Sequence[WatchedFilm], labels: Sequence[str], settings: SegmentSettings) -> SegmentMetrics:
    """Measures the segments found with given settings on labelled videos.

    Args:
        watched: the videos, from `watch_films`.
        labels: labels of the recognizer.
        settings: the settings of the segments.

    Returns:
        mAP, precision, recall, F1, delay and false alarms.

    Raises:
        KinemaError: the videos contain no action.
    """
    films = [
        Film(film.truth, (), None) if film.track is None
        else Film(film.truth, find_segments(film.track, labels, settings), film.track.duration)
        for film in watched
    ]  # fmt: skip
    return measure_segments(films)


def calibrate(
    watched: Sequence[WatchedFilm], labels: Sequence[str], sight: Sight, *, background: Sequence[str] = (),
    source: str = "", split: str = "", progress: Callable[[int, int], None] | None = None,
) -> SegmentSettings:  # fmt: skip
    """Sets threshold, release, shortest duration, smoothing and lag to maximise F1 at an overlap of 0.5.

    All rules of a grid are tried; its times are multiples of the lengths of the actions. Among rules with the same F1,
    the one with the higher mean average precision at 0.5 is chosen, then the one with the higher threshold. The result
    is fitted to these videos and may be worse on others: measure it on other videos.

    Args:
        watched: labelled videos with their scores; unreadable ones are ignored.
        labels: labels of the recognizer.
        sight: how the recognizer was run on them.
        background: labels that mean "no action".
        source: name of the data, for the card.
        split: name of the split, for the card.
        progress: called with the number of tried rules and their total.

    Returns:
        Settings for a card; `set_on` names the data and states the figures reached on them.

    Raises:
        KinemaError: the readable videos contain no action.
    """
    films = [(film, film.track) for film in watched if film.track is not None]
    actions = [a for film, _ in films for a in film.truth]
    if not actions:
        raise KinemaError(f"{source or 'the videos'}: no readable video contains an action: add labelled videos")
    lengths = [a.t_end - a.t_start for a in actions]
    short, usual = float(np.quantile(lengths, 0.1)), float(np.median(lengths))
    rules = list(product(_SMOOTHING, _THRESHOLDS, _RELEASES, _SHORTEST))
    best: tuple[float, float, float] = (-1.0, -1.0, -1.0)
    chosen = SegmentRule()
    smoothed: list[NDArray[np.float64]] = []
    tops: list[NDArray[np.intp]] = []
    ground = np.array([label in background for label in labels])
    lags = [round(usual * share, 3) for share in _LAGS] if sight.mode == "step" else [0.0]
    for number, (smoothing, threshold, release, shortest) in enumerate(rules):
        rule = SegmentRule(
            threshold, round(threshold * release, 4), round(short * shortest, 3), round(usual * smoothing, 3)
        )
        if number == 0 or smoothing != rules[number - 1][0]:
            smoothed = [_smoothed(track, labels, rule) for _, track in films]
            tops = [np.where(ground, -1.0, table).argmax(1) for table in smoothed]
        raw = [
            _segments(track, table, top, Segmenter(labels, rule, background))
            for (_, track), table, top in zip(films, smoothed, tops, strict=True)
        ]
        for lag in lags:
            results = [
                Film(film.truth, tuple(moved_back(segments, lag)), track.duration)
                for (film, track), segments in zip(films, raw, strict=True)
            ]
            f1 = f1_at(results)
            if f1 >= best[0]:
                found = (f1, measure_segments(results, overlaps=(0.5,), resamples=0).map[0.5].value or 0.0, threshold)
                if found > best:
                    best, chosen = found, replace(rule, lag=lag)
        if progress is not None:
            progress(number + 1, len(rules))
    set_on: dict[str, Any] = {
        "data": source, "split": split, "films": len(films), "actions": len(actions), "f1": round(best[0], 4),
        "map": round(best[1], 4),
    }  # fmt: skip
    return SegmentSettings(chosen, tuple(background), sight, set_on)


def _smoothed(track: Track, labels: Sequence[str], rule: SegmentRule) -> NDArray[np.float64]:
    segmenter = Segmenter(labels, rule)
    rows = zip(track.starts.tolist(), track.ends.tolist(), track.scores, strict=True)
    return np.stack([segmenter.smooth(start, end, row) for start, end, row in rows])


def _segments(
    track: Track, smoothed: NDArray[np.float64], tops: NDArray[np.intp], segmenter: Segmenter
) -> tuple[Segment, ...]:
    """Does the same as `find_segments`, for scores that are already smoothed."""
    found: list[Segment] = []
    until = float(track.starts[0])
    spans = zip(track.starts.tolist(), track.ends.tolist(), track.known.tolist(), tops.tolist(), strict=True)
    for (start, end, known, top), row in zip(spans, smoothed, strict=True):
        if start - until > GAP:
            found += segmenter.end()
        found += segmenter.advance(start, end, row, top, known)
        until = end
    return (*found, *segmenter.end())
