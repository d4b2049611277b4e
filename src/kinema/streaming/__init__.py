"""Recognition of a stream while it arrives: sources, decisions, and segments with start and end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinema.lazy import lazy_names

if TYPE_CHECKING:
    from kinema.streaming.live import Decision, Live, recognise
    from kinema.streaming.segments import Segment, Segmenter, SegmentRule
    from kinema.streaming.sources import open_source

__all__ = ["Decision", "Live", "Segment", "SegmentRule", "Segmenter", "open_source", "recognise"]

__getattr__ = lazy_names(
    __name__,
    {
        "Decision": "kinema.streaming.live",
        "Live": "kinema.streaming.live",
        "Segment": "kinema.streaming.segments",
        "SegmentRule": "kinema.streaming.segments",
        "Segmenter": "kinema.streaming.segments",
        "open_source": "kinema.streaming.sources",
        "recognise": "kinema.streaming.live",
    },
)
