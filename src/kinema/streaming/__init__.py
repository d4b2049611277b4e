"""Recognition of streams as frames arrive, and of long videos: decisions, and segments with start and end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinema.lazy import lazy_names

if TYPE_CHECKING:
    from kinema.streaming.calibration import calibrate, labelled_films, measure_films, watch_films
    from kinema.streaming.live import Decision, Live, recognise
    from kinema.streaming.segments import Segment, Segmenter, SegmentRule
    from kinema.streaming.sources import open_source
    from kinema.streaming.timelines import SegmentSettings, Timeline, timeline, timelines
    from kinema.streaming.tracks import choose_sight

__all__ = [
    "Decision",
    "Live",
    "Segment",
    "SegmentRule",
    "SegmentSettings",
    "Segmenter",
    "Timeline",
    "calibrate",
    "choose_sight",
    "labelled_films",
    "measure_films",
    "open_source",
    "recognise",
    "timeline",
    "timelines",
    "watch_films",
]

_HOMES = {
    "Decision": "live",
    "Live": "live",
    "Segment": "segments",
    "SegmentRule": "segments",
    "SegmentSettings": "timelines",
    "Segmenter": "segments",
    "Timeline": "timelines",
    "calibrate": "calibration",
    "choose_sight": "tracks",
    "labelled_films": "calibration",
    "measure_films": "calibration",
    "open_source": "sources",
    "recognise": "live",
    "timeline": "timelines",
    "timelines": "timelines",
    "watch_films": "calibration",
}

__getattr__ = lazy_names(__name__, {name: f"{__name__}.{home}" for name, home in _HOMES.items()})
