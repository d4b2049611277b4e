"""What a recognizer says of a video, or of a window of one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Prediction:
    """What a recognizer says of one stretch of a video.

    Attributes:
        label: the most probable label.
        score: its softmax score, 0 to 1.
        top_k: pairs of label and score, best first.
        t_start: seconds from the first frame.
        t_end: seconds from the first frame.
    """

    label: str
    score: float
    top_k: tuple[tuple[str, float], ...]
    t_start: float
    t_end: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


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
