"""Labelling of videos: tables of segments, the order of videos, agreement of two annotators, and training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinema.lazy import lazy_names

if TYPE_CHECKING:
    from kinema.annotation.agreement import Agreement, cohen_kappa, compare_tables, confusion
    from kinema.annotation.desk import LabelDesk
    from kinema.annotation.least_sure import Queued, queue
    from kinema.annotation.segments import SegmentTable
    from kinema.annotation.training import Progress, TrainingJob

__all__ = [
    "Agreement",
    "LabelDesk",
    "Progress",
    "Queued",
    "SegmentTable",
    "TrainingJob",
    "cohen_kappa",
    "compare_tables",
    "confusion",
    "queue",
]

_HOMES = {
    "Agreement": "agreement",
    "LabelDesk": "desk",
    "Progress": "training",
    "Queued": "least_sure",
    "SegmentTable": "segments",
    "TrainingJob": "training",
    "cohen_kappa": "agreement",
    "compare_tables": "agreement",
    "confusion": "agreement",
    "queue": "least_sure",
}

__getattr__ = lazy_names(__name__, {name: f"{__name__}.{home}" for name, home in _HOMES.items()})
