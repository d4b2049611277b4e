"""Measures of segments: cases with a known answer, and a slow reference."""

from __future__ import annotations

import numpy as np
import pytest

from kinema.errors import KinemaError
from kinema.evaluation.segments import Film, TrueSegment, f1_at, match_segments, measure_segments, temporal_iou
from kinema.streaming import Segment


def found(label: str, start: float, end: float, score: float, known: float | None = None) -> Segment:
    return Segment(label, start, end, score, end if known is None else known)


def test_overlap_of_two_stretches() -> None:
    assert temporal_iou((0, 2), (1, 3)) == pytest.approx(1 / 3)
    assert temporal_iou((0, 2), (0, 2)) == 1
    assert temporal_iou((0, 1), (1, 2)) == 0
    assert temporal_iou((1, 1), (1, 1)) == 0


def test_a_film_with_known_answers() -> None:
    truth = (TrueSegment("wave", 0, 10), TrueSegment("wave", 20, 30), TrueSegment("jump", 40, 44))
    segments = (
        found("wave", 0, 9, 0.9, known=1),  # overlap 0.9
        found("wave", 12, 15, 0.8),  # a false alarm
        found("wave", 20, 26, 0.7, known=22),  # overlap 0.6
        found("jump", 20, 30, 0.6),  # the wrong label: a false alarm
        found("jump", 41, 42, 0.5),  # overlap 0.25: no match, and no false alarm
    )
    result = measure_segments([Film(truth, segments, 3600.0)])
    # wave at 0.5: right, wrong, right of two: (1 + 2/3) / 2; jump: 0
    assert result.map[0.5].value == pytest.approx(((1 + 2 / 3) / 2 + 0) / 2)
    assert result.map[0.7].value == pytest.approx((1 / 2 + 0) / 2)
    assert result.per_class == pytest.approx({"wave": 5 / 6, "jump": 0})
    assert (result.precision, result.recall) == (pytest.approx(2 / 5), pytest.approx(2 / 3))
    assert result.f1 == pytest.approx(4 / 8)
    assert result.delay.value == pytest.approx(1.5)
    assert result.labelled == pytest.approx(2 / 3)
    assert result.false_alarms.value == pytest.approx(2)
    assert result.map[0.5].low is None  # one film has no interval


def test_an_action_is_matched_once_and_by_the_surest() -> None:
    truth = [TrueSegment("wave", 0, 10)]
    segments = [found("wave", 0, 10, 0.5), found("wave", 0, 8, 0.9)]
    assert match_segments(truth, segments, 0.5).tolist() == [-1, 0]
    truth.append(TrueSegment("wave", 0, 8))
    assert match_segments(truth, segments, 0.5).tolist() == [0, 1]


def test_an_unreadable_film_counts_as_missed() -> None:
    truth = (TrueSegment("wave", 0, 10),)
    good = Film(truth, (found("wave", 0, 10, 0.9),), 20.0)
    result = measure_segments([good, Film(truth, (), None)])
    assert (result.map[0.5].value, result.recall) == (0.5, 0.5)
    assert result.hours == pytest.approx(20 / 3600)
    assert result.to_dict()["coverage"] == {"expected": 2, "read": 1, "failed": 1}


def test_nothing_found() -> None:
    result = measure_segments([Film((TrueSegment("wave", 0, 10),), (), 20.0)] * 3)
    assert (result.map[0.3].value, result.f1, result.precision) == (0, 0, None)
    assert (result.delay.value, result.labelled, result.false_alarms.value) == (None, 0, 0)


def test_refusals() -> None:
    with pytest.raises(KinemaError, match="no action"):
        measure_segments([Film((), (), 20.0)])
    with pytest.raises(KinemaError, match="overlaps"):
        measure_segments([Film((TrueSegment("wave", 0, 1),), (), 20.0)], overlaps=(0.0, 0.5))


def some_films(rng: np.random.Generator, count: int) -> list[Film]:
    films = []
    for _ in range(count):
        truth, segments = [], []
        for start in range(0, 60, 10):
            label = "abc"[rng.integers(3)]
            truth.append(TrueSegment(label, start, start + 5.0))
            if rng.random() < 0.8:
                begin = start + rng.uniform(-2, 3)
                label = label if rng.random() < 0.8 else "abc"[rng.integers(3)]
                segments.append(found(label, begin, begin + rng.uniform(2, 7), float(rng.random()), begin + 0.5))
        films.append(Film(tuple(truth), tuple(segments), 60.0))
    return films


def slow_precision(films: list[Film], label: str, overlap: float) -> float:
    """Walks down the sorted list, in the words of the definition."""
    ranked = sorted(((s.score, i, s) for i, f in enumerate(films) for s in f.found if s.label == label), reverse=True)
    taken: set[tuple[int, int]] = set()
    points, right = [], 0
    total = sum(t.label == label for f in films for t in f.truth)
    for rank, (_, i, s) in enumerate(ranked, 1):
        free = [
            (temporal_iou((s.t_start, s.t_end), (t.t_start, t.t_end)), j)
            for j, t in enumerate(films[i].truth)
            if t.label == label and (i, j) not in taken
        ]
        hit = bool(free) and max(free)[0] >= overlap
        if hit:
            taken.add((i, max(free)[1]))
            right += 1
        points.append((right / total, right / rank))
    area, last = 0.0, 0.0
    for k, (recall, _) in enumerate(points):
        area += (recall - last) * max(p for _, p in points[k:])
        last = recall
    return area


@pytest.mark.parametrize("overlap", [0.3, 0.5, 0.7])
def test_mean_average_precision_is_that_of_the_definition(overlap: float) -> None:
    for seed in range(5):
        films = some_films(np.random.default_rng(seed), 6)
        expected = np.mean([slow_precision(films, label, overlap) for label in "abc"])
        assert measure_segments(films, resamples=0).map[overlap].value == pytest.approx(expected)


def test_the_interval_is_that_of_drawn_films() -> None:
    films = some_films(np.random.default_rng(3), 5)
    result = measure_segments(films, resamples=200, seed=7)
    values, delays, alarms = [], [], []
    for draw in np.random.default_rng(7).integers(0, 5, (200, 5)):
        drawn = measure_segments([films[i] for i in draw], resamples=0)
        values.append(drawn.map[0.5].value)
        delays.append(drawn.delay.value)
        alarms.append(drawn.false_alarms.value)
    for figure, reference in ((result.map[0.5], values), (result.delay, delays), (result.false_alarms, alarms)):
        low, high = np.quantile(reference, [0.025, 0.975])
        assert (figure.low, figure.high) == (pytest.approx(low), pytest.approx(high))
        assert figure.low < figure.value < figure.high


def test_f1_counts_matches_over_both_lists() -> None:
    films = some_films(np.random.default_rng(1), 3)
    result = measure_segments(films, resamples=0)
    assert f1_at(films) == pytest.approx(result.f1)
    assert result.f1 == pytest.approx(2 * result.precision * result.recall / (result.precision + result.recall))
