from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kinema.data.reading.info import MOST_TICKS, is_variable, normal_gap, part_frames
from kinema.data.video import ticks

RATES = [5, 12, 24000 / 1001, 25, 30000 / 1001, 30, 60000 / 1001, 60]
UNITS = [1e-9, 1 / 90000, 1 / 12800, 1e-3, 1 / 30]


def constant(fps: float, unit: float, frames: int, begin: float = 0.0) -> np.ndarray:
    """Times of a constant rate, as a container with this time base stores them."""
    times = np.round((begin + np.arange(frames) / fps) / unit) * unit
    return times - times[0]


def mixed(*stretches: tuple[int, float]) -> tuple[np.ndarray, float]:
    """Times of stretches of (frames, seconds per frame), and the end of the last frame."""
    edges = np.cumsum([0.0, *(gap for frames, gap in stretches for _ in range(frames))])
    return edges[:-1], float(edges[-1])


# ---- constant rate


@pytest.mark.parametrize("fps", [*RATES, 120, 240])
@pytest.mark.parametrize("unit", UNITS)
def test_constant_rate_gives_every_frame_once(fps: float, unit: float) -> None:
    for frames, begin in ((613, 0.0), (613, 0.37), (2, 0.0), (5000, 0.01)):
        times = constant(fps, unit, frames, begin)
        assert np.array_equal(ticks(times), np.arange(frames))
        if unit < 1e-2:  # in units of 1/30 s these rates are uneven
            assert not is_variable(times, unit)


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("length", [0.4, 1.0, 2.5, 10.0])
def test_adjacent_parts_share_no_frame_and_lose_none(fps: float, unit: float, length: float) -> None:
    for begin in (0.0, 0.013, 0.37):
        times = constant(fps, unit, 613, begin)
        duration = times[-1] + 1 / fps
        for shift in (0.0, 0.0123, 0.0167):
            borders = [0.0, *np.arange(length - shift, duration - 0.6 / fps, length), duration]
            parts = [ticks(times, a, b, duration) for a, b in pairwise(borders)]
            assert np.array_equal(np.concatenate(parts), np.arange(613))


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("unit", [1e-9, 1 / 90000, 1e-3])
def test_a_frame_belongs_where_its_middle_lies(fps: float, unit: float) -> None:
    times = constant(fps, unit, 200)
    start, end = 50 / fps, 80 / fps
    slack = 0.5 / fps - unit  # the bounds may be wrong by less than half a frame
    for a in (-slack, 0.0, slack):
        for b in (-slack, 0.0, slack):
            assert ticks(times, start + a, end + b).tolist() == list(range(50, 80))
    over = 0.5 / fps + 1.1 * unit
    assert ticks(times, start + over, end + over).tolist() == list(range(51, 81))
    assert ticks(times, start - over, end - over).tolist() == list(range(49, 79))


def test_bounds_in_seconds() -> None:
    times = np.arange(300) / 30
    assert ticks(times, 1.0, 2.0).tolist() == list(range(30, 60))
    assert ticks(times, None, 1.0).tolist() == list(range(30))
    assert ticks(times, 9.5).tolist() == list(range(285, 300))
    assert ticks(times, -3.0, 99.0).tolist() == list(range(300))
    assert ticks(times, 2.0, 2.001).tolist() == [60]
    assert ticks(times, 10.0).tolist() == []
    assert ticks(times, 3.0, 3.0).tolist() == []
    assert ticks(times, 9.99, 30.0, duration=12.0).tolist() == [299]


def test_short_videos() -> None:
    assert ticks(np.array([0.0])).tolist() == [0]
    assert ticks(np.array([0.0]), 3.0, 4.0, duration=5.0).tolist() == [0]
    assert ticks(np.array([0.0]), 5.0, 6.0, duration=5.0).tolist() == []
    assert ticks(np.zeros(0)).tolist() == []
    assert ticks(np.array([0.0, 0.04]), 0.0, 0.04).tolist() == [0]


def test_variable_rate() -> None:
    assert is_variable(np.array([0, 0.02, 0.06, 0.08, 0.12]), 1e-3)
    assert not is_variable(np.array([0.0, 1.0]), 1e-3)


# ---- variable rate

SLIDES = mixed((2, 1.0), (120, 1 / 30), (27, 2.0), (1, 1 / 30))  # still, motion from 2 s to 6 s, then a frame every 2 s
SLOW_MOTION = mixed((60, 1 / 30), (480, 1 / 240), (60, 1 / 30))


def test_a_part_holds_the_frames_of_its_own_rate() -> None:
    times, duration = SLIDES
    assert ticks(times, 2.0, 3.0, duration).tolist() == list(range(2, 32))
    assert ticks(times, 5.0, 6.0, duration).tolist() == list(range(92, 122))
    assert ticks(times, 0.0, 1.0, duration).tolist() == [0]
    assert ticks(times, 6.0, 7.0, duration).tolist() == ticks(times, 7.0, 8.0, duration).tolist() == [122]
    assert ticks(times, 6.5, 9.0, duration).tolist() == [122, 123]  # both are shown for longer than any frame of motion
    assert ticks(times, 60.0, None, duration).tolist() == [149]
    times, duration = SLOW_MOTION
    assert ticks(times, 1.0, 2.0, duration).tolist() == list(range(30, 60))
    assert ticks(times, 2.5, 3.0, duration).tolist() == list(range(180, 300))
    assert ticks(times, 4.0, 5.0, duration).tolist() == list(range(540, 570))


def test_motion_keeps_its_speed_where_a_part_is_uneven() -> None:
    times, duration = SLIDES
    assert ticks(times, 1.6, 3.0, duration).tolist() == [1] * 12 + list(range(2, 32))
    assert ticks(times, 5.9, 8.5, duration).tolist() == [119, 120, 121] + [122] * 60 + [123] * 15
    whole = ticks(times, None, None, duration)
    assert np.bincount(whole).tolist() == [30] * 2 + [1] * 120 + [60] * 27 + [1]
    times, duration = mixed((150, 1 / 30), (120, 1 / 24))  # a phone in failing light
    assert np.bincount(ticks(times, 0, None, duration))[150:].sum() == pytest.approx(150, abs=1)


def test_frames_that_arrive_in_a_bunch_are_not_passed_over() -> None:
    """A camera whose connection stalls for a second stores what it caught up on within some milliseconds."""
    times = np.array([*np.arange(30) / 30, *(2 + np.arange(30) * 1e-3), *(2.05 + np.arange(60) / 30)])
    assert set(ticks(times)) == set(range(120))
    assert set(ticks(times, 1.5, 3.0)) == set(range(29, 88))


@pytest.mark.parametrize("unit", [1 / 90000, 1e-3])
def test_a_break_does_not_double_frames_before_or_after_it(unit: float) -> None:
    for rest in (1.0, 1.0167, 0.35):
        times = np.concatenate([np.arange(500) / 29.97, 500 / 29.97 + rest + np.arange(500) / 29.97])
        counts = np.bincount(ticks(np.round(times / unit) * unit))
        assert counts[499] == pytest.approx(1 + rest * 29.97, abs=1)
        assert np.delete(counts, 499).sum() <= 1000
        assert (np.delete(counts, 499) >= 1).all()


def test_stamps_that_repeat() -> None:
    times = np.repeat(np.arange(50) / 25, 2)
    assert np.array_equal(ticks(times), np.arange(100))
    assert np.array_equal(np.concatenate([ticks(times, 0, 1), ticks(times, 1, 2)]), np.arange(100))
    assert ticks(np.zeros(5), duration=1.0).tolist() == [0, 1, 2, 3, 4]


def test_a_long_last_frame_is_shown_to_its_end() -> None:
    times = np.arange(30) / 30
    assert ticks(times, duration=11.0).tolist() == list(range(30))  # evenly spaced: each once
    assert ticks(times, 0.0, 1.0, 11.0).tolist() == list(range(30))
    for second in range(1, 11):
        assert ticks(times, second, second + 1, 11.0).tolist() == [29]


def test_standstill_does_not_make_millions_of_ticks() -> None:
    times, duration = mixed((1, 1e6), (30, 1e-3), (1, 1e6), (30, 1e-3))
    found = ticks(times, None, None, duration)
    assert set(found) == set(range(62))
    assert len(found) <= (MOST_TICKS + 1) * 62


def test_normal_gap_is_that_of_most_frames() -> None:
    assert normal_gap(np.array([1, 1, 0.1, 0.1])) == pytest.approx(0.1)
    assert normal_gap(np.array([0.033, 0.033, 0.034, 5])) == pytest.approx(0.1 / 3)
    assert normal_gap(np.zeros(3)) == normal_gap(np.zeros(0)) == 0


@given(
    st.lists(st.one_of(st.floats(0, 0.5), st.sampled_from([0.0, 1 / 30, 2.0])), min_size=1, max_size=40),
    st.lists(st.floats(0, 1), min_size=1, max_size=6),
)
@example([0.0, 0.0, 0.5, 0.5], [5e-324])
@settings(max_examples=300, deadline=None)
def test_parts_of_any_video_cover_it(gaps: list[float], cuts: list[float]) -> None:
    edges = np.cumsum([0.0, *gaps])
    times, duration = edges[:-1], float(edges[-1])
    if duration == 0:
        return
    middles = (edges[:-1] + edges[1:]) / 2
    borders = [0.0, *sorted(cut * duration for cut in cuts), duration]
    for start, end in pairwise(borders):
        members, found = part_frames(times, start, end, duration), ticks(times, start, end, duration)
        if end <= start:
            assert len(members) == len(found) == 0
            continue
        assert np.array_equal(np.unique(found), members)
        assert (np.diff(found) >= 0).all()
        assert np.array_equal(members, np.arange(members[0], members[-1] + 1))
        assert len(found) <= (MOST_TICKS + 1) * len(members)
        inside = np.flatnonzero((middles >= start) & (middles < end))
        assert set(inside) <= set(members)
        assert (edges[members] <= end).all()
        assert (edges[members + 1] >= start).all()


@given(st.lists(st.integers(1, 9), min_size=3, max_size=60))
@settings(deadline=None)
def test_a_frame_that_stays_is_met_as_often_as_its_time_has_steps(lengths: list[int]) -> None:
    lengths = [1] * len(lengths) + lengths  # so that most frames have one step
    times = np.cumsum([0, *lengths[:-1]]) / 30
    counts = np.bincount(ticks(times, duration=sum(lengths) / 30))
    if max(lengths[:-1]) > 2:  # else it is one lost frame or another in a regular sequence
        assert counts.tolist() == lengths
