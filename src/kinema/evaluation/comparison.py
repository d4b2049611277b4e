"""`compare`: two tests, video by video. Is one recognizer better than the other, by how much, and at what?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinema.errors import KinemaError
from kinema.evaluation.calibration import reliability
from kinema.evaluation.metrics import Coverage
from kinema.evaluation.pairing import about_roots, other_sizes, shared_rows
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
from kinema.evaluation.tested import Tested
from kinema.text import plural


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
        KinemaError: the same test twice, no video in both, a video with two labels, or other videos of the same names.
    """
    if first.file.resolve() == second.file.resolve():
        raise KinemaError(f"{first.file}: is compared with itself; give two different tests")
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
        remarks=(
            *_absent(first, second),
            *_left_out(first, second, len(own), set(own)),
            *_left_out(second, first, len(own), set(others)),
            *_unread(first, second, said_a, said_b),
            *_changed(first, second, rows),
            *_label_remarks(first, second),
            *_protocol(first, second),
        ),
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


def _absent(first: Tested, second: Tested) -> list[str]:
    return [
        f"{test.name} was tested without {plural(test.coverage.absent, 'video')} that the annotation names (absent, "
        "left out): its figures are of the others"
        for test in (first, second)
        if test.coverage.absent
    ]


def _left_out(test: Tested, other: Tested, shared: int, used: set[int]) -> list[str]:
    paths = test.result.paths
    rest = [path for i, path in enumerate(paths) if i not in used]
    if not rest:
        return []
    return [
        f"{len(rest)} of {len(paths)} videos of {test.name} are not in the test of {other.name} (first: {rest[0]}): "
        f"only the {shared} videos of both are compared"
    ]


def _unread(first: Tested, second: Tested, said_a: Sequence[str | None], said_b: Sequence[str | None]) -> list[str]:
    remarks = []
    for test, said, other in ((first, said_a, said_b), (second, said_b, said_a)):
        failed = sum(a is None and b is not None for a, b in zip(said, other, strict=True))
        if failed:
            remarks.append(f"{failed} of the videos could not be read for {test.name} alone and count as its errors")
    return [*remarks, *about_roots(first, second)]


def _changed(first: Tested, second: Tested, rows: Sequence[tuple[int, int]]) -> list[str]:
    _, differ = other_sizes(first, second, rows)
    if not differ:
        return []
    return [
        f"{plural(len(differ), 'video')} of {len(rows)} had another size in the test of {second.name} (first: "
        f"{first.result.paths[differ[0][0]]}): the two were tested on other files there"
    ]


def _label_remarks(first: Tested, second: Tested) -> list[str]:
    remarks = []
    for test, other in ((first, second), (second, first)):
        more = [label for label in test.result.labels if label not in other.result.labels]
        if more:
            remarks.append(
                f"{test.name} chooses among {len(test.result.labels)} labels, of which {other.name} lacks "
                f"{len(more)} ({', '.join(more[:3])}{', …' if more[3:] else ''})"
            )
    return remarks


def _protocol(first: Tested, second: Tested) -> list[str]:
    """How the two were tested differently, as far as their `metrics.json` tell."""
    alone = [str(test.file) for test in (first, second) if not test.document]
    if alone:
        return [f"no metrics.json lies beside {' and '.join(alone)}: how it was tested is not known"]
    facts = [_facts(test.document) for test in (first, second)]
    differ = [key for key in facts[0] | facts[1] if facts[0].get(key) != facts[1].get(key)]
    if not differ:
        return []
    listed = ", ".join(f"{key} ({facts[0].get(key)} and {facts[1].get(key)})" for key in differ)
    return [f"{first.name} and {second.name} were tested differently: {listed}"]


def _facts(document: Mapping[str, Any]) -> dict[str, Any]:
    test, protocol = document.get("test", {}), document.get("protocol", {})
    # Mean and deviation belong to the network, as its weights do.
    clip = {key: value for key, value in dict(protocol.get("clip", {})).items() if key not in ("mean", "std")}
    return {key: test.get(key) for key in ("split", "views")} | clip
