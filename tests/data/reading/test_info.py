from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.data.reading.info import is_variable
from kinema.data.video import ticks


def shown_at(times: np.ndarray, instant: float) -> int:
    """The frame on the screen at an instant, by looking at each."""
    shown = 0
    for index, time in enumerate(times):
        if time <= instant:
            shown = index
    return shown


@pytest.mark.parametrize("fps", [5, 12, 24000 / 1001, 25, 29.97, 30, 59.94, 120, 240])
@pytest.mark.parametrize("unit", [1e-9, 1 / 90000, 1e-3])
def test_constant_rate_gives_every_frame_once(fps: float, unit: float) -> None:
    times = np.round(np.arange(613) / fps / unit) * unit
    assert np.array_equal(ticks(times), np.arange(613))
    assert not is_variable(times, unit)


@given(st.lists(st.floats(0.01, 0.5), min_size=2, max_size=40), st.floats(0, 8), st.floats(0.02, 8))
def test_ticks_are_the_frames_shown_midway(steps: list[float], start: float, long: float) -> None:
    times = np.cumsum([0.0, *steps])
    period = times[-1] / len(steps)
    length = len(times) * period
    end = min(start + long, length)
    got = ticks(times, start, end)
    if end <= start:
        assert len(got) == 0
        return
    count = max(1, round((end - start) / period))
    step = (end - start) / count
    assert got.tolist() == [shown_at(times, start + (i + 0.5) * step) for i in range(count)]


def test_bounds_in_seconds() -> None:
    times = np.arange(300) / 30
    assert ticks(times, 1.0, 2.0).tolist() == list(range(30, 60))
    assert ticks(times, None, 1.0).tolist() == list(range(30))
    assert ticks(times, 9.5).tolist() == list(range(285, 300))
    assert ticks(times, -3.0, 99.0).tolist() == list(range(300))
    assert ticks(times, 2.0, 2.001).tolist() == [60]
    assert ticks(times, 10.0).tolist() == []
    assert ticks(times, 3.0, 3.0).tolist() == []


def test_a_frame_that_stays_is_met_again_and_a_burst_is_thinned() -> None:
    times = np.array([0.0, 0.1, 0.2, 0.3, 1.3, 1.4, 1.5])  # mean period 0.25 s
    assert ticks(times).tolist() == [1, 3, 3, 3, 3, 4, 6]


def test_short_videos() -> None:
    assert ticks(np.array([0.0])).tolist() == [0]
    assert ticks(np.zeros(0)).tolist() == []


def test_variable_rate() -> None:
    assert is_variable(np.array([0, 0.02, 0.06, 0.08, 0.12]), 1e-3)
    assert not is_variable(np.array([0.0, 1.0]), 1e-3)
