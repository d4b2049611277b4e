"""The result of recognising a video, or a part of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """The result for one part of a video.

    Attributes:
        label: the most probable label.
        score: its score, from 0 to 1: softmax, or sigmoid if a video may have several labels.
        top_k: pairs of label and score, best first.
        t_start: seconds from the first frame.
        t_end: seconds from the first frame.
        labels: if a video may have several labels, those whose score reaches the threshold, best first; else None.
    """

    label: str
    score: float
    top_k: tuple[tuple[str, float], ...]
    t_start: float
    t_end: float
    labels: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls, names: Sequence[str], scores: Tensor, top_k: int, t_start: float, t_end: float, least: float | None = None
    ) -> Prediction:
        """Builds the prediction from scores.

        Args:
            names: K labels, in the order of the outputs.
            scores: float K.
            top_k: how many labels to rank, at least one and at most K.
            t_start: seconds.
            t_end: seconds.
            least: the lowest score at which a label is predicted, if a video may have several labels; else None.
        """
        best = scores.topk(min(max(1, top_k), len(names)))
        ranked = tuple((names[i], float(s)) for s, i in zip(best.values, best.indices.tolist(), strict=True))
        labels = None
        if least is not None:
            labels = tuple(names[i] for i in scores.argsort(descending=True).tolist() if scores[i] >= least)
        return cls(ranked[0][0], ranked[0][1], ranked, t_start, t_end, labels)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON; without `labels` if there is one label per video."""
        values = asdict(self)
        return values if self.labels is not None else {k: v for k, v in values.items() if k != "labels"}


@dataclass(frozen=True)
class FailedWindow:
    """A window of a long video that could not be recognised.

    Attributes:
        reason: why the window failed, without the path.
        t_start: seconds from the first frame.
        t_end: seconds from the first frame.
    """

    reason: str
    t_start: float
    t_end: float
