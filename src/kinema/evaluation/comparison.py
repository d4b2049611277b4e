"""`compare`: two tests, video by video. Is one recognizer better than the other, by how much, and at what?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinema.errors import KinemaError
from kinema.evaluation.metrics import SEED, Coverage
from kinema.evaluation.statistics import (
    LEVEL,
    RESAMPLES,
    Difference,
    McNemar,
    mcnemar,
    paired_bootstrap,
    share_interval,
)
from kinema.evaluation.tested import Tested
from kinema.text import plural

Key = tuple[str, float | None, float | None]  # path, start and end of a video


@dataclass(frozen=True)
class Side:
    """One of the two tests.

    Attributes:
        name: of the test.
        scores: its file.
        top1: share of the compared videos that it gets right, 0 to 1.
        interval: Wilson's interval of `top1`, level 0.95.
        mean_class: mean recall of the classes of the compared videos.
        compared: coverage of the compared videos.
        whole: coverage of the whole test.
    """

    name: str
    scores: str
    top1: float
    interval: tuple[float, float]
    mean_class: float
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
    """Two classes that are taken for each other.

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
    """Compares two tests on the videos that both hold; videos are paired by path, start and end.

    A video that one of them could not read is wrong there, as in every figure of a test.

    Args:
        first: the one to compare with ("model 1" of the thesis, table 6.5).
        second: the one that is asked about ("model 2").

    Raises:
        KinemaError: the same test twice, no video in both, a video with two labels, or other videos of the same names.
    """
    if first.file.resolve() == second.file.resolve():
        raise KinemaError(f"{first.file}: compared with itself; give two tests")
    rows = shared_rows(first, second)
    own, others = [i for i, _ in rows], [j for _, j in rows]
    truth = [first.result.truth[i] for i in own]
    right_a, right_b = first.result.correct[own], second.result.correct[others]
    said_a = [first.result.predictions[i] for i in own]
    said_b = [second.result.predictions[j] for j in others]
    per_class = _gains(truth, right_a, right_b)
    return Comparison(
        first=_side(first, right_a, said_a, [c.first for c in per_class]),
        second=_side(second, right_b, said_b, [c.second for c in per_class]),
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


def shared_rows(first: Tested, second: Tested) -> list[tuple[int, int]]:
    """For every video that both tests hold, its rows in the two, in the order of the first.

    Raises:
        KinemaError: there is none, a test lists one twice, the tests name different true labels, or most of the videos
            are other files.
    """
    there, here = _places(second), _places(first)
    rows = [(i, there[key]) for key, i in here.items() if key in there]
    if not rows:
        examples = " and ".join(repr(test.result.paths[0]) for test in (first, second) if test.result.paths)
        raise KinemaError(
            f"{first.file} and {second.file} share no video (first ones: {examples}); test both on the same data"
        )
    differ = [(i, j) for i, j in rows if first.result.truth[i] != second.result.truth[j]]
    if differ:
        i, j = differ[0]
        raise KinemaError(
            f"{first.result.paths[i]}: is {first.result.truth[i]!r} in {first.file} and {second.result.truth[j]!r} in "
            f"{second.file} (so are {len(differ)} of {len(rows)} videos); test both with the same labels"
        )
    known, differ = _other_sizes(first, second, rows)
    if 2 * len(differ) > known:
        i, j = differ[0]
        raise KinemaError(
            f"{first.result.paths[i]}: has {plural(first.result.sizes[i] or 0, 'byte')} in {first.file} and "
            f"{second.result.sizes[j]} in {second.file} (so have {len(differ)} of {known} videos): these are other "
            "videos of the same names; test both on the same data"
        )
    return rows


def _other_sizes(first: Tested, second: Tested, rows: Sequence[tuple[int, int]]) -> tuple[int, list[tuple[int, int]]]:
    """How many videos have a size in both tests, and the rows of those of which it differs."""
    pairs = [(first.result.sizes[i], second.result.sizes[j]) for i, j in rows]
    known = [a is not None and b is not None for a, b in pairs]
    return sum(known), [row for row, (a, b), both in zip(rows, pairs, known, strict=True) if both and a != b]


def _places(test: Tested) -> dict[Key, int]:
    places: dict[Key, int] = {}
    for i, (path, span) in enumerate(zip(test.result.paths, test.result.spans, strict=True)):
        if places.setdefault((path, *span), i) != i:
            raise KinemaError(f"{test.file}: lists {path!r} twice; test again on data that name it once")
    return places


def _side(test: Tested, right: NDArray[np.bool_], said: Sequence[str | None], recalls: Sequence[float]) -> Side:
    failed = sum(label is None for label in said)
    return Side(
        name=test.name,
        scores=str(test.file),
        top1=float(right.mean()),
        interval=share_interval(int(right.sum()), len(right)),
        mean_class=float(np.mean(recalls)),
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
    if first.result.root != second.result.root:
        remarks.append(
            f"the videos lay in {first.result.root} and in {second.result.root}: paired by their paths there, which is "
            "right only if both folders hold the same videos"
        )
    return remarks


def _changed(first: Tested, second: Tested, rows: Sequence[tuple[int, int]]) -> list[str]:
    _, differ = _other_sizes(first, second, rows)
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
                f"{test.name} chooses among {len(test.result.labels)} labels, of which {other.name} does not know "
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
