"""Recognition of a stream while it arrives: sources, decisions, and segments with start and end."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Decision": "live", "Live": "live", "recognise": "live",
    "Segment": "segments", "Segmenter": "segments", "SegmentRule": "segments",
    "open_source": "sources",
}  # fmt: skip
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"kinema.streaming.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
