"""Labelling of videos: tables of segments, what to label next, how far two people agree, and training from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinema.lazy import lazy_names

if TYPE_CHECKING:
    from kinema.annotation.desk import LabelDesk
    from kinema.annotation.segments import SegmentTable

__all__ = ["LabelDesk", "SegmentTable"]

_HOMES = {"LabelDesk": "desk", "SegmentTable": "segments"}

__getattr__ = lazy_names(__name__, {name: f"{__name__}.{home}" for name, home in _HOMES.items()})
