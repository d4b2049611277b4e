"""From scores over time to segments."""

from __future__ import annotations

import numpy as np
import pytest

from kinema.errors import KinemaError
from kinema.streaming import Segment, Segmenter, SegmentRule

LABELS = ("wave", "jump", "nothing")


Rows = list[tuple[float, float, float]]


def segments(rows: Rows, rule: SegmentRule, background: tuple[str, ...] = ()) -> list[Segment]:
    """One row of scores per second."""
    found, segmenter = [], Segmenter(LABELS, rule, background)
    for t, row in enumerate(rows):
        found += segmenter.feed(t, t + 1, row)
    return found + segmenter.end()


def test_begins_at_the_threshold_and_ends_below_the_release() -> None:
    scores = [0.1, 0.6, 0.45, 0.41, 0.3, 0.45, 0.2]  # 0.45 goes on, and does not begin again
    found = segments([(s, 0.0, 0.0) for s in scores], SegmentRule(0.5, 0.4, 0))
    assert [(s.label, s.t_start, s.t_end) for s in found] == [("wave", 1, 4)]
    assert found[0].score == pytest.approx(np.mean([0.6, 0.45, 0.41]))


def test_another_class_takes_over() -> None:
    found = segments([(0.9, 0.1, 0), (0.6, 0.7, 0), (0.1, 0.9, 0)], SegmentRule(0.5, 0.1, 0))
    assert [(s.label, s.t_start, s.t_end) for s in found] == [("wave", 0, 1), ("jump", 1, 3)]


def test_short_segments_and_background_are_no_action() -> None:
    rows = [(0.9, 0, 0), (0, 0, 0.9), (0, 0.9, 0), (0, 0.9, 0), (0, 0, 0.9)]
    found = segments(rows, SegmentRule(0.5, 0.4, 1.5), ("nothing",))
    assert [(s.label, s.t_start, s.t_end) for s in found] == [("jump", 2, 4)]


def test_smoothing_bridges_a_gap_and_swallows_a_flash() -> None:
    rows = [(s, 0.0, 0.0) for s in (0.9, 0.9, 0.0, 0.9, 0.9, 0.0, 0.0, 0.0, 0.9, 0.0, 0.0)]
    plain = segments(rows, SegmentRule(0.5, 0.4, 0))
    smooth = segments(rows, SegmentRule(0.5, 0.4, 0, smoothing=3))
    assert len(plain) == 3
    assert [(s.t_start, s.t_end) for s in smooth] == [(0, 6)]


def test_smoothing_equals_the_mean_of_the_last_seconds() -> None:
    rng = np.random.default_rng(0)
    segmenter, rows = Segmenter(LABELS, SegmentRule(smoothing=2.5)), rng.random((20, 3))
    for t, row in enumerate(rows):
        segmenter.feed(t, t + 1, row)
        whole = rows[max(0, t - 2) : t + 1]
        weights = np.ones(len(whole))
        if t >= 2:
            weights[0] = 0.5
        last = segmenter.smooth(t + 1, t + 1 + 1e-9, row)
        segmenter._recent.pop()
        assert np.allclose(last, np.average(whole, axis=0, weights=weights), atol=1e-6) or t < 2


def test_the_lag_moves_segments_back_and_not_the_moment_at_which_they_are_known() -> None:
    rows = [(0.9, 0, 0), (0.0, 0, 0.9), (0, 0, 0.9), (0, 0, 0.9), (0, 0.9, 0), (0, 0.9, 0), (0, 0, 0.9)]
    plain = segments(rows, SegmentRule(0.5, 0.4, 0.5), ("nothing",))
    moved = segments(rows, SegmentRule(0.5, 0.4, 0.5, lag=1.5), ("nothing",))
    assert [(s.label, s.t_start, s.t_end) for s in plain] == [("wave", 0, 1), ("jump", 4, 6)]
    assert [(s.label, s.t_start, s.t_end) for s in moved] == [("jump", 2.5, 4.5)]  # nothing was before the first frame
    assert moved[0].t_known == plain[1].t_known
    assert moved[0].score == plain[1].score
    earlier = segments([(0, 0, 0), (0.9, 0, 0), (0.9, 0, 0)], SegmentRule(0.5, 0.4, 0.5, lag=1.5))
    assert [(s.t_start, s.t_end) for s in earlier] == [(0, 1.5)]


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"threshold": 0}, "threshold"),
        ({"threshold": 1.2}, "threshold"),
        ({"threshold": 0.4, "release": 0.5}, "release"),
        ({"shortest": -1}, "shortest"),
        ({"smoothing": float("nan")}, "smoothing"),
        ({"threshold": "high"}, "threshold"),
        ({"lag": -0.1}, "lag is -0.1"),
        ({"lag": float("inf")}, "lag is inf"),
        ({"lag": True}, "lag is True"),
    ],
)
def test_bad_rules_are_one_sentence(values: dict, word: str) -> None:
    with pytest.raises(KinemaError, match=word):
        SegmentRule(**values)


def test_an_unknown_background_label_offers_near_names() -> None:
    with pytest.raises(KinemaError, match="nothing"):
        Segmenter(LABELS, SegmentRule(), ["nothin"])
