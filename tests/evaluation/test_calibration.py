from __future__ import annotations

import numpy as np
import pytest
from evaluation.made_tests import made_test

from kinema.errors import KinemaError
from kinema.evaluation.calibration import calibration, reliability
from kinema.evaluation.statistics import share_interval


def slow_ece(confidence: np.ndarray, correct: np.ndarray, bins: int) -> tuple[float, float]:
    total, largest = 0.0, 0.0
    for i in range(bins):
        inside = [k for k, c in enumerate(confidence) if i / bins < c <= (i + 1) / bins or (i == 0 and c == 0)]
        if inside:
            gap = abs(np.mean([correct[k] for k in inside]) - np.mean([confidence[k] for k in inside]))
            total += len(inside) * gap / len(confidence)
            largest = max(largest, gap)
    return total, largest


@pytest.mark.parametrize(("n", "bins"), [(1, 15), (40, 10), (400, 15), (400, 1)])
def test_it_is_the_mean_gap_of_the_bins(n: int, bins: int) -> None:
    rng = np.random.default_rng(n + bins)
    confidence, correct = rng.random(n), rng.random(n) < 0.6
    found = reliability(confidence, correct, bins=bins)
    assert (found.ece, found.mce) == pytest.approx(slow_ece(confidence, correct, bins))
    assert sum(b.predictions for b in found.bins) == found.predictions == n
    assert (found.confidence, found.accuracy) == pytest.approx((confidence.mean(), correct.mean()))


def test_ends_belong_to_the_lower_bin_and_each_bin_has_its_interval() -> None:
    found = reliability([0.0, 0.5, 0.5, 1.0], [False, True, False, True], bins=2)
    assert [b.predictions for b in found.bins] == [3, 1]
    assert found.bins[0].interval == share_interval(1, 3)
    assert (found.bins[0].confidence, found.bins[0].accuracy) == pytest.approx((1 / 3, 1 / 3))
    empty = reliability([0.9], [True], bins=3).bins[0]
    assert (empty.predictions, empty.confidence, empty.accuracy, empty.interval) == (0, None, None, None)


def test_perfect_scores_have_a_small_error_and_boasting_ones_a_large_one() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.2, 1, 20_000)
    correct = rng.random(20_000) < confidence
    assert reliability(confidence, correct).ece < 0.02
    boasting = reliability(np.sqrt(confidence), correct)
    assert boasting.ece == pytest.approx(np.sqrt(confidence).mean() - confidence.mean(), abs=0.02)


def test_of_a_test_unreadable_videos_are_left_out_and_counted() -> None:
    test = made_test("x", ["a", "b", "c", "a"], ["a", "b", "a", None])
    found = calibration(test.result)
    assert found is not None
    assert (found.predictions, found.unread) == (3, 1)
    assert found.confidence == pytest.approx(0.8)
    assert found.ece == pytest.approx(0.8 - 2 / 3)
    assert calibration(made_test("x", ["a"], [None]).result) is None


@pytest.mark.parametrize(
    ("confidence", "correct", "bins", "field"),
    [
        ([], [], 15, "confidence"),
        ([0.5], [True, False], 15, "correct"),
        ([1.5], [True], 15, "confidence"),
        ([-0.1], [True], 15, "confidence"),
        ([float("nan")], [True], 15, "confidence"),
        ([[0.5]], [[True]], 15, "confidence"),
        ([0.5], [True], 0, "bins"),
    ],
)
def test_nonsense_is_refused(confidence: list[float], correct: list[bool], bins: int, field: str) -> None:
    with pytest.raises(KinemaError, match=field):
        reliability(confidence, correct, bins=bins)
