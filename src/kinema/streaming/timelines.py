"""Start and end of each action in a video: segments from the scores of a recognizer over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinema.card import CARD
from kinema.data.loading.limits import ReadLimits
from kinema.errors import KinemaError, UnreadableVideo
from kinema.recognizer import Recognizer
from kinema.streaming.live import Decision
from kinema.streaming.segments import Segment, Segmenter, SegmentRule
from kinema.streaming.tracks import FilmMode, LostPart, Sight, Track, choose_sight, read_track

SEGMENTS = "segments"  # key of the card
GAP = 1.0  # seconds without scores that end a segment
SEGMENT_COLUMNS = ("path", "label", "start", "end")  # columns of a table of segments, which training reads


@dataclass(frozen=True)
class SegmentSettings:
    """The settings of segments, as stored in the card of a recognizer.

    Attributes:
        rule: when a segment begins and when it ends.
        background: labels that mean "no action".
        sight: how the recognizer was run on the videos of the calibration; None without a calibration.
        set_on: data of the calibration and figures reached on them, plain values; empty without a calibration.
    """

    rule: SegmentRule = field(default_factory=SegmentRule)
    background: tuple[str, ...] = ()
    sight: Sight | None = None
    set_on: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for a card."""
        sight = self.sight or Sight("auto")
        looks = {"mode": sight.mode, "rate": sight.rate, "window": sight.window, "step": sight.step}
        return {**self.rule.to_dict(), "background": list(self.background), **looks, "set_on": dict(self.set_on)}


def stored_settings(recognizer: Recognizer) -> SegmentSettings | None:
    """Returns the segment settings in the card; None if it has none.

    Raises:
        KinemaError: a threshold outside 0 to 1, a label that the recognizer does not have, or values of another type.
    """
    entry = recognizer.card.get(SEGMENTS)
    if entry is None:
        return None
    fix = "correct it, or set it again with kinema timeline --calibrate"
    try:
        if not isinstance(entry, dict):
            raise KinemaError("it is not an object")
        rule = SegmentRule(**{key: entry[key] for key in SegmentRule().to_dict() if key in entry})
        background = entry.get("background", [])
        if not isinstance(background, list) or not all(label in recognizer.labels for label in background):
            raise KinemaError(f"background is {background!r}: give a list of labels of the recognizer")
        sight = None
        if entry.get("mode") is not None:
            looks = {key: entry.get(key) for key in ("rate", "window", "step")}
            if not all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in looks.values()):
                raise KinemaError(f"rate, window and step are {list(looks.values())}: give numbers")
            sight = choose_sight(recognizer, mode=entry["mode"], **looks)
        set_on = entry.get("set_on", {})
        if not isinstance(set_on, dict):
            raise KinemaError(f"set_on is {set_on!r}: give an object")
    except KinemaError as error:
        raise KinemaError(f"{CARD}: {SEGMENTS}: {error}; {fix}") from error
    return SegmentSettings(rule, tuple(background), sight, set_on)


@dataclass(frozen=True)
class Timeline:
    """The segments of a video.

    Attributes:
        path: path of the video.
        segments: segments in temporal order.
        duration: seconds of the video; None if it cannot be read.
        lost: parts of it that could not be read.
        error: why the whole video could not be read, without the path, or None.
    """

    path: str
    segments: tuple[Segment, ...]
    duration: float | None
    lost: tuple[LostPart, ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            "path": self.path,
            "duration": self.duration,
            "segments": [segment.to_dict() for segment in self.segments],
            "lost": [{"t_start": part.t_start, "t_end": part.t_end, "reason": part.reason} for part in self.lost],
            "error": self.error,
        }

    def rows(self, path: str | None = None) -> list[list[str]]:
        """Returns the cells of `SEGMENT_COLUMNS`, one row per segment, with times to the millisecond.

        Args:
            path: path to write instead of the video's.
        """
        name = self.path if path is None else path
        return [[name, s.label, f"{s.t_start:.3f}", f"{s.t_end:.3f}"] for s in self.segments]


def timeline(
    recognizer: Recognizer, video: str | Path, *, rule: SegmentRule | None = None,
    background: Sequence[str] | None = None, mode: FilmMode = "auto", rate: float | None = None,
    window: float | None = None, step: float | None = None, workers: int = 1, limits: ReadLimits | None = None,
) -> Timeline:  # fmt: skip
    """Finds the start and end of each action in a video.

    A causal network sees every frame once; other networks see overlapping windows. Arguments that are not given are
    taken from the card, where `kinema timeline --calibrate` stores them, else they are the defaults of `SegmentRule`
    and `choose_sight`.

    Args:
        recognizer: the recognizer.
        video: a video file or a folder of frames.
        rule: when a segment begins and when it ends.
        background: labels that mean "no action".
        mode: `step`, `delayed`, `window` or `auto`, see `choose_sight`.
        rate: frames per second in the modes `step` and `delayed`.
        window: seconds of a window.
        step: seconds from one window to the next.
        workers: 0 reads in this process, any other number in a separate process.
        limits: limits for reading a few frames.

    Returns:
        The segments, and the parts that could not be read.

    Raises:
        UnreadableVideo: the video cannot be read.
        KinemaError: a threshold outside 0 to 1, a background that is not a label, or a mode that the network lacks.
    """
    settings = settled(
        recognizer, rule=rule, background=background, mode=mode, rate=rate, window=window, step=step
    )  # fmt: skip
    assert settings.sight is not None
    track = read_track(recognizer, video, settings.sight, workers=workers, limits=limits)
    return Timeline(str(video), find_segments(track, recognizer.labels, settings), track.duration, track.lost)


def settled(
    recognizer: Recognizer, *, rule: SegmentRule | None = None, background: Sequence[str] | None = None,
    mode: FilmMode = "auto", rate: float | None = None, window: float | None = None, step: float | None = None,
) -> SegmentSettings:  # fmt: skip
    """Returns the settings: the given ones, else those in the card, else the defaults.

    Args:
        recognizer: the recognizer, with its card.
        rule: as for `timeline`.
        background: as for `timeline`.
        mode: as for `timeline`.
        rate: as for `timeline`.
        window: as for `timeline`.
        step: as for `timeline`.

    Raises:
        KinemaError: as for `timeline`.
    """
    there = stored_settings(recognizer) or SegmentSettings()
    if there.sight is not None and mode == "auto" and rate is None and window is None and step is None:
        sight = there.sight
    else:
        sight = choose_sight(recognizer, mode=mode, rate=rate, window=window, step=step)
    chosen = SegmentSettings(
        there.rule if rule is None else rule,
        there.background if background is None else tuple(background),
        sight,
        there.set_on if rule is None else {},
    )
    Segmenter(recognizer.labels, chosen.rule, chosen.background)  # rejects an unknown label before a video is read
    return chosen


def timelines(
    recognizer: Recognizer, videos: Sequence[str | Path], settings: SegmentSettings, *, workers: int = 1,
    limits: ReadLimits | None = None,
) -> Iterator[Timeline]:  # fmt: skip
    """Yields the timelines of many videos; an unreadable video has no segments but an error.

    Args:
        recognizer: the recognizer.
        videos: video files or folders of frames.
        settings: settings from `settled`.
        workers: as for `timeline`.
        limits: as for `timeline`.

    Yields:
        A timeline per video, in order.
    """
    assert settings.sight is not None
    for video in videos:
        try:
            track = read_track(recognizer, video, settings.sight, workers=workers, limits=limits)
        except UnreadableVideo as error:
            yield Timeline(str(video), (), None, error=error.reason)
        else:
            yield Timeline(str(video), find_segments(track, recognizer.labels, settings), track.duration, track.lost)


def find_segments(track: Track, labels: Sequence[str], settings: SegmentSettings) -> tuple[Segment, ...]:
    """Finds the segments in scores over time.

    Args:
        track: scores of a video.
        labels: K names, in the order of the scores.
        settings: the rule and the background.
    """
    segmenter = Segmenter(labels, settings.rule, settings.background)
    found: list[Segment] = []
    until = float(track.starts[0])
    for start, end, known, scores in zip(track.starts, track.ends, track.known, track.scores, strict=True):
        if start - until > GAP:
            found += segmenter.end()
        found += segmenter.feed(float(start), float(end), scores, float(known))
        until = float(end)
    return (*found, *segmenter.end())


def feed_decision(segmenter: Segmenter, decision: Decision, interval: float) -> list[Segment]:
    """Returns the segments that have ended with one more decision of a stream.

    Args:
        segmenter: a segmenter with the same labels.
        decision: a decision with the scores of all labels, not averaged (see `Live`).
        interval: seconds between two selected frames; a longer gap ends the open segment.
    """
    scores = dict(decision.top_k)
    ended = segmenter.end() if decision.time - segmenter.until > GAP + interval else []
    row = [scores[label] for label in segmenter.labels]
    return ended + segmenter.feed(decision.time, decision.time + interval, row, decision.time)
