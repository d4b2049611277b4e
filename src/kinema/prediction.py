"""What a recognizer says of a video, or of a part of one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Prediction:
    """What a recognizer says of one stretch of a video.

    Attributes:
        label: the most probable label.
        score: its score, 0 to 1: softmax, or sigmoid where a video may have several labels.
        top_k: pairs of label and score, best first.
        t_start: seconds from the first frame.
        t_end: seconds from the first frame.
        labels: where a video may have several labels, those whose score reaches the threshold, best first; else None.
    """

    label: str
    score: float
    top_k: tuple[tuple[str, float], ...]
    t_start: float
    t_end: float
    labels: tuple[str, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; without `labels` where there is one label per video."""
        values = asdict(self)
        return values if self.labels is not None else {k: v for k, v in values.items() if k != "labels"}


@dataclass(frozen=True)
class FailedWindow:
    """A window of a long video that could not be recognised.

    Attributes:
        reason: why, without the path.
        t_start: seconds from the first frame.
        t_end: seconds from the first frame.
    """

    reason: str
    t_start: float
    t_end: float
