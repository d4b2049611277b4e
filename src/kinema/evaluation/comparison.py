"""`compare`: two tests, video by video. Is one recognizer better than the other, by how much, and at what?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinema.errors import KinemaError
from kinema.evaluation.calibration import reliability
from kinema.evaluation.metrics import Coverage
from kinema.evaluation.pairing import shared_rows
from kinema.evaluation.remarks import remarks_of
from kinema.evaluation.statistics import (
    LEVEL,
    RESAMPLES,
    SEED,
    Difference,
    McNemar,
    mcnemar,
    paired_bootstrap,
    share_interval,
)
from kinema.evaluation.tested import Tested, require_one_kind


@dataclass(frozen=True)
class Side:
    """One of the two tests.

    Attributes:
        name: of the test.
        scores: its file.
        top1: share of the compared videos that it gets right, 0 to 1.
        interval: Wilson's interval of `top1`, level 0.95.
        mean_class: mean recall of the classes of the compared videos.
        ece: expected calibration error over the compared videos that it could read; None without any.
        compared: coverage of the compared videos.
        whole: coverage of the whole test.
    """

    name: str
    scores: str
    top1: float
    interval: tuple[float, float]
    mean_class: float
    ece: float | None
    compared: Coverage
    whole: Coverage


@dataclass(frozen=True)
class ClassGain:
    """One class in both tests.

    Attributes:
        label: its name.
        videos: compared ones that show it.
        first: recall of the first recognizer, 0 to 1.
        second: recall of the second one.
        gained: videos that only the second one gets right.
        lost: videos that only the first one gets right.
    """

    label: str
    videos: int
    first: float
    second: float
    gained: int
    lost: int


@dataclass(frozen=True)
class HardPair:
    """Two classes that are confused with each other.

    Attributes:
        labels: the two.
        videos: compared ones that show one of them.
        first: videos of either that the first recognizer takes for the other one.
        second: the same of the second recognizer.
    """

    labels: tuple[str, str]
    videos: int
    first: int
    second: int


@dataclass(frozen=True)
class Comparison:
    """Two recognizers on the videos that both were tested on.

    Attributes:
        first: the one compared with.
        second: the one that is asked about.
        videos: that are compared.
        difference: accuracy of the second minus accuracy of the first, paired percentile bootstrap. Videos are drawn
            without regard to their classes: how many of each a test holds is chance as well.
        mcnemar: whether they differ at all.
        per_class: every class of the compared videos, from the largest gain to the largest loss.
        pairs: every pair of classes that one of the two confuses, most confusions first.
        remarks: sentences without which the figures could mislead.
    """

    first: Side
    second: Side
    videos: int
    difference: Difference
    mcnemar: McNemar
    per_class: tuple[ClassGain, ...]
    pairs: tuple[HardPair, ...]
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"bootstrap": {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED}}


def compare(first: Tested, second: Tested) -> Comparison:
    """Compares two tests on the videos that both hold; videos are paired by path, start and end (see `pairing`).

    A video that one of them could not read is wrong there, as in every figure of a test.

    Args:
        first: the one to compare with ("model 1" of the thesis, table 6.5).
        second: the one that is asked about ("model 2").

    Raises:
        KinemaError: the same test twice, no video in both, other labels, other videos of the same names, or tests of
            several labels per video, which `compare_sets` takes.
    """
    if first.file.resolve() == second.file.resolve():
        raise KinemaError(f"{first.file}: is compared with itself; give two different tests")
    if require_one_kind([first, second]):
        raise KinemaError(
            f"{first.name} and {second.name} predict several labels per video: compare them with kinema compare, which "
            "takes their mAP"
        )
    rows = shared_rows(first, second)
    own, others = [i for i, _ in rows], [j for _, j in rows]
    truth = [first.result.truth[i] for i in own]
    right_a, right_b = first.result.correct[own], second.result.correct[others]
    said_a = [first.result.predictions[i] for i in own]
    said_b = [second.result.predictions[j] for j in others]
    per_class = _gains(truth, right_a, right_b)
    return Comparison(
        first=_side(first, own, right_a, said_a, [c.first for c in per_class]),
        second=_side(second, others, right_b, said_b, [c.second for c in per_class]),
        videos=len(rows),
        difference=paired_bootstrap(right_a, right_b, seed=SEED),
        mcnemar=mcnemar(right_a, right_b),
        per_class=per_class,
        pairs=_confused(truth, said_a, said_b),
        remarks=remarks_of(first, second, rows),
    )


def _side(
    test: Tested, rows: Sequence[int], right: NDArray[np.bool_], said: Sequence[str | None], recalls: Sequence[float]
) -> Side:
    failed = sum(label is None for label in said)
    read = np.array([label is not None for label in said], dtype=bool)
    confidence = test.result.scores[rows].max(1)[read]
    return Side(
        name=test.name,
        scores=str(test.file),
        top1=float(right.mean()),
        interval=share_interval(int(right.sum()), len(right)),
        mean_class=float(np.mean(recalls)),
        ece=reliability(confidence, right[read]).ece if read.any() else None,
        compared=Coverage(len(said), len(said) - failed, failed),
        whole=test.coverage,
    )


def _gains(truth: Sequence[str], first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[ClassGain, ...]:
    labels, classes = np.unique(np.array(truth, dtype=object), return_inverse=True)
    videos, right_a, right_b, gained, lost = (
        np.bincount(classes, weights, len(labels)).astype(np.int64)
        for weights in (np.ones(len(truth)), first, second, second & ~first, first & ~second)
    )
    found = [
        ClassGain(label, int(n), float(a / n), float(b / n), int(g), int(w))
        for label, n, a, b, g, w in zip(labels, videos, right_a, right_b, gained, lost, strict=True)
    ]
    return tuple(sorted(found, key=lambda c: (c.first - c.second, c.lost - c.gained, c.label)))


def _confused(truth: Sequence[str], said_a: Sequence[str | None], said_b: Sequence[str | None]) -> tuple[HardPair, ...]:
    videos = Counter(truth)
    first, second = (
        Counter(
            (min(true, label), max(true, label))
            for true, label in zip(truth, said, strict=True)
            if label is not None and label != true
        )
        for said in (said_a, said_b)
    )
    found = [HardPair(p, videos[p[0]] + videos[p[1]], first[p], second[p]) for p in first | second]
    return tuple(sorted(found, key=lambda h: (-h.first - h.second, h.videos, h.labels)))
