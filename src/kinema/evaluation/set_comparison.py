"""`compare_sets`: two tests of several labels per video, on the videos that both hold, by their mAP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinema.data.label_sets import label_set
from kinema.errors import KinemaError
from kinema.evaluation.metrics import Coverage
from kinema.evaluation.multi_label import average_precision, measure_sets
from kinema.evaluation.pairing import shared_rows
from kinema.evaluation.remarks import remarks_of
from kinema.evaluation.set_statistics import MeanApDifference, mean_ap_differences
from kinema.evaluation.statistics import LEVEL, RESAMPLES, SEED
from kinema.evaluation.tested import Tested, require_one_kind


@dataclass(frozen=True)
class SetSide:
    """One of the two tests.

    Attributes:
        name: of the test.
        scores: its file.
        mean_ap: mAP over the compared videos and the classes that occur in them, 0 to 1.
        interval: basic bootstrap interval of `mean_ap` over videos, level 0.95.
        hit1: share of the compared videos whose highest score belongs to one of their labels.
        compared: coverage of the compared videos.
        whole: coverage of the whole test.
    """

    name: str
    scores: str
    mean_ap: float
    interval: tuple[float, float]
    hit1: float
    compared: Coverage
    whole: Coverage


@dataclass(frozen=True)
class ClassPrecisionGain:
    """One class that occurs in the compared videos.

    Attributes:
        label: its name.
        videos: compared ones that show it.
        first: average precision of the first recognizer, 0 to 1.
        second: average precision of the second one.
    """

    label: str
    videos: int
    first: float
    second: float


@dataclass(frozen=True)
class SetComparison:
    """Two recognizers of several labels per video on the videos that both were tested on.

    Attributes:
        first: the one compared with.
        second: the one that is asked about.
        videos: that are compared.
        classes: how many classes occur in them: the mAPs are means over these.
        without_positives: labels of either recognizer that no compared video has; they are in no figure.
        difference: mAP of the second minus mAP of the first, with its paired bootstrap over videos.
        per_class: every class that occurs, from the largest gain to the largest loss.
        remarks: sentences without which the figures could mislead.
    """

    first: SetSide
    second: SetSide
    videos: int
    classes: int
    without_positives: tuple[str, ...]
    difference: MeanApDifference
    per_class: tuple[ClassPrecisionGain, ...]
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        about = {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED}
        return {"multi_label": True} | asdict(self) | {"bootstrap": about}


@dataclass(frozen=True)
class SharedSets:
    """What several tests hold of the same videos.

    Attributes:
        labels: K, those that some of the videos have, sorted.
        truth: bool N K.
        scores: per test float32 N K; a row of NaN is a video that it could not read.
    """

    labels: tuple[str, ...]
    truth: NDArray[np.bool_]
    scores: tuple[NDArray[np.float32], ...]


def shared_sets(tests: Sequence[Tested], rows: Sequence[Sequence[int]]) -> SharedSets:
    """Truth and scores of several tests on the same videos, for the classes that occur in them.

    Args:
        tests: of several labels per video.
        rows: per test the rows of the videos, in one order.

    Raises:
        KinemaError: no video has a label.
    """
    cells = [label_set(tests[0].result.truth[i]) for i in rows[0]]
    labels = tuple(sorted({label for cell in cells for label in cell}))
    if not labels:
        raise KinemaError(f"{tests[0].file}: no compared video has a label, so there is no mAP; test on labelled data")
    truth = np.array([[label in cell for label in labels] for cell in cells], dtype=bool)
    scores = []
    for test, own in zip(tests, rows, strict=True):
        place = {label: k for k, label in enumerate(test.result.labels)}
        scores.append(test.result.scores[np.ix_(list(own), [place[label] for label in labels])])
    return SharedSets(labels, truth, tuple(scores))


def compare_sets(first: Tested, second: Tested) -> SetComparison:
    """Compares two tests of several labels per video; videos are paired by path, start and end (see `pairing`).

    A video that one of them could not read is never retrieved there, as in every figure of such a test.

    Args:
        first: the one to compare with.
        second: the one that is asked about.

    Raises:
        KinemaError: the same test twice, a test of one label per video, no video in both, no label in them, or other
            videos of the same names.
    """
    if first.file.resolve() == second.file.resolve():
        raise KinemaError(f"{first.file}: is compared with itself; give two different tests")
    if not require_one_kind([first, second]):
        raise KinemaError(f"{first.file} and {second.file}: are of one label per video; compare them with `compare`")
    rows = shared_rows(first, second)
    own, others = [i for i, _ in rows], [j for _, j in rows]
    shared = shared_sets([first, second], [own, others])
    (difference,) = mean_ap_differences(shared.truth, shared.scores, [(-1.0, 1.0)])
    known = {*first.result.labels, *second.result.labels}
    return SetComparison(
        first=_side(first, own, shared, 0),
        second=_side(second, others, shared, 1),
        videos=len(rows),
        classes=len(shared.labels),
        without_positives=tuple(sorted(known.difference(shared.labels))),
        difference=difference,
        per_class=_gains(shared),
        remarks=remarks_of(first, second, rows),
    )


def _side(test: Tested, rows: Sequence[int], shared: SharedSets, place: int) -> SetSide:
    found = measure_sets(shared.truth, shared.scores[place], shared.labels)
    # The highest score may be of a class that no compared video has.
    whole = test.result.scores[list(rows)]
    read = ~np.isnan(whole).any(1)
    best = [test.result.labels[k] for k in whole[read].argmax(1)]
    cells = [label_set(test.result.truth[rows[k]]) for k in np.flatnonzero(read).tolist()]
    hits = sum(label in cell for label, cell in zip(best, cells, strict=True))
    return SetSide(
        test.name, str(test.file), found.mean_ap, found.mean_ap_interval, hits / len(rows), found.coverage,
        test.coverage,
    )  # fmt: skip


def _gains(shared: SharedSets) -> tuple[ClassPrecisionGain, ...]:
    found = []
    for k, label in enumerate(shared.labels):
        first, second = (average_precision(shared.truth[:, k], s[:, k]) or 0.0 for s in shared.scores)
        found.append(ClassPrecisionGain(label, int(shared.truth[:, k].sum()), first, second))
    return tuple(sorted(found, key=lambda c: (c.first - c.second, c.label)))
