from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.clip_spec import ClipSpec
from kinema.data import samplers
from kinema.data.samplers import needed_ticks, random_indices, train_indices
from kinema.data.windows import sliding_windows
from kinema.errors import KinemaError

clip_indices = samplers.test_indices  # under its own name pytest would collect it


def spec_of(frames: int, sampler: str = "segments", stride: int = 1, pad: str = "loop") -> ClipSpec:
    return ClipSpec(frames=frames, sampler=sampler, stride=stride, pad=pad)  # type: ignore[arg-type]


def slow_centre(n: int, frames: int, clips: int, clip: int, segment: int) -> int:
    point = (segment + (clip + Fraction(1, 2)) / clips) * Fraction(n, frames)
    tick = int(point)
    if point == tick and point > Fraction(n, 2):  # on the border of tick - 1 and tick, right of the middle
        tick -= 1
    return tick


specs = st.builds(
    spec_of,
    frames=st.integers(1, 20),
    sampler=st.sampled_from(["segments", "dense", "normal"]),
    stride=st.integers(1, 7),
    pad=st.sampled_from(["loop", "last"]),
)


@given(n=st.integers(1, 400), spec=specs, clips=st.integers(1, 12), seed=st.integers(0, 99))
@settings(max_examples=300, deadline=None)
def test_every_sampler_stays_in_the_video(n: int, spec: ClipSpec, clips: int, seed: int) -> None:
    drawn = train_indices(n, spec, np.random.default_rng(seed))
    tested = clip_indices(n, spec, clips)
    assert drawn.shape == (spec.frames,)
    assert tested.shape == (clips, spec.frames)
    for ticks in (drawn, tested):
        assert ticks.dtype == np.int64
        assert ticks.min() >= 0
        assert ticks.max() < n
    if n >= needed_ticks(spec):
        assert (np.diff(drawn) > 0).all()  # in order and none twice
        assert (np.diff(tested, axis=1) > 0).all()
    assert (drawn == train_indices(n, spec, np.random.default_rng(seed))).all()


@given(n=st.integers(1, 300), frames=st.integers(1, 16), clips=st.integers(1, 8))
@settings(max_examples=300, deadline=None)
def test_segment_clips_match_the_slow_rule(n: int, frames: int, clips: int) -> None:
    if n < frames:
        n = frames
    expected = [[slow_centre(n, frames, clips, c, s) for s in range(frames)] for c in range(clips)]
    assert clip_indices(n, spec_of(frames), clips).tolist() == expected


@given(n=st.integers(1, 500), half=st.integers(1, 16), clips=st.integers(1, 10))
@settings(max_examples=300, deadline=None)
def test_segment_clips_are_symmetric_in_time(n: int, half: int, clips: int) -> None:
    n = max(n, 2 * half)
    ticks = clip_indices(n, spec_of(2 * half), clips)
    assert (ticks[::-1, ::-1] == n - 1 - ticks).all()


@given(spare=st.integers(0, 300), frames=st.integers(1, 16), clips=st.integers(1, 10))
def test_views_of_a_long_enough_video_differ(spare: int, frames: int, clips: int) -> None:
    ticks = clip_indices(frames * clips + spare, spec_of(frames), clips)
    assert len(np.unique(ticks)) == frames * clips  # not even one frame is shared
    edges = (frames * clips + spare) / frames * np.arange(frames + 1)
    assert (ticks >= np.floor(edges[:-1])).all()
    assert (ticks < np.ceil(edges[1:])).all()


def test_centre_by_hand() -> None:
    assert clip_indices(8, spec_of(8), 1).tolist() == [list(range(8))]
    assert clip_indices(16, spec_of(4), 1).tolist() == [[2, 6, 9, 13]]  # points 2, 6, 10, 14 are all on borders
    assert clip_indices(10, spec_of(2), 1).tolist() == [[2, 7]]
    assert clip_indices(12, spec_of(2), 3).tolist() == [[1, 6], [3, 8], [5, 10]]


def test_training_segments_are_uniform_inside_their_part() -> None:
    rng = np.random.default_rng(0)
    draws = np.stack([train_indices(10, spec_of(3), rng) for _ in range(6000)])
    for column, part in enumerate((range(0, 3), range(3, 6), range(6, 10))):
        ticks, counts = np.unique(draws[:, column], return_counts=True)
        assert ticks.tolist() == list(part)
        assert abs(counts / 6000 - 1 / len(part)).max() < 0.03


def test_dense_by_hand_and_uniform_start() -> None:
    spec = spec_of(4, "dense", stride=3)  # spans 10 ticks
    assert clip_indices(30, spec, 1).tolist() == [[10, 13, 16, 19]]
    assert clip_indices(30, spec, 3)[:, 0].tolist() == [0, 10, 20]
    assert clip_indices(30, spec, 2)[:, 0].tolist() == [0, 20]
    rng = np.random.default_rng(0)
    draws = np.stack([train_indices(13, spec, rng) for _ in range(4000)])
    starts, counts = np.unique(draws[:, 0], return_counts=True)
    assert starts.tolist() == [0, 1, 2, 3]
    assert abs(counts / 4000 - 0.25).max() < 0.03
    assert (np.diff(draws, axis=1) == 3).all()


def test_normal_start_follows_the_thesis() -> None:
    n, spec = 300, spec_of(4, "normal", stride=2)
    rng = np.random.default_rng(0)
    starts = np.array([train_indices(n, spec, rng)[0] for _ in range(8000)])
    assert starts.min() >= 0
    assert starts.max() <= n // 2
    assert abs(starts.mean() - n / 4) < 1.5  # standard error is 0.4
    # a normal cut at 1.5 deviations on both sides keeps 0.7426 of its deviation
    assert abs(starts.std() - 0.7426 * n / 6) < 1.5
    assert np.mean(abs(starts - n / 4) < n / 12) == pytest.approx(0.3829 / 0.8664, abs=0.02)


def test_normal_shrinks_its_stride_to_what_is_left() -> None:
    spec = spec_of(8, "normal", stride=5)
    for seed in range(200):
        ticks = train_indices(24, spec, np.random.default_rng(seed))
        assert ticks[-1] == 23  # 36 ticks do not fit anywhere: always to the end
        assert np.ptp(np.diff(ticks)) <= 1
    assert clip_indices(24, spec, 3).tolist() == [[i * 23 // 7 for i in range(8)]] * 3


def test_short_videos_are_completed_as_stated() -> None:
    rng = np.random.default_rng(0)
    for sampler in ("segments", "dense", "normal"):
        loop, last = spec_of(5, sampler), spec_of(5, sampler, pad="last")
        assert clip_indices(3, loop, 2).tolist() == [[0, 1, 2, 0, 1]] * 2
        assert clip_indices(3, last, 1).tolist() == [[0, 1, 2, 2, 2]]
        assert train_indices(3, loop, rng).tolist() == [0, 1, 2, 0, 1]
        assert train_indices(3, last, rng).tolist() == [0, 1, 2, 2, 2]
        assert train_indices(1, loop, rng).tolist() == [0] * 5
    assert train_indices(5, spec_of(4, "dense", stride=2), rng).tolist() == [0, 2, 4, 1]
    assert train_indices(5, spec_of(4, "dense", stride=2, pad="last"), rng).tolist() == [0, 2, 4, 4]


def test_short_video_refused_names_need_and_length() -> None:
    spec = spec_of(8, "dense", stride=4, pad="error")
    with pytest.raises(KinemaError, match=r"needs 29 frames but the video has 12.*clip\.pad"):
        train_indices(12, spec, np.random.default_rng(0))
    with pytest.raises(KinemaError, match="needs 29 frames but the video has 12"):
        clip_indices(12, spec, 1)
    assert clip_indices(29, spec, 1)[0, -1] == 28


@pytest.mark.parametrize("sampler", ["segments", "dense", "normal"])
def test_no_frame_is_an_error(sampler: str) -> None:
    spec = spec_of(4, sampler)
    for call in (
        lambda: train_indices(0, spec, np.random.default_rng(0)),
        lambda: clip_indices(0, spec, 1),
    ):
        with pytest.raises(KinemaError, match="no frame"):
            call()
    with pytest.raises(KinemaError, match="at least 1"):
        clip_indices(10, spec, 0)


@given(frames=st.integers(1, 300), fps=st.sampled_from([24000 / 1001, 25, 29.97]), window=st.integers(1, 60),
       step=st.integers(1, 60))  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_windows_cover_the_video_once_and_to_its_end(frames: int, fps: float, window: int, step: int) -> None:
    long, apart = window / 7, min(step, window) / 7
    duration = frames / fps
    starts = [0.0]
    while starts[-1] + long < duration - 0.5 / fps:  # the slow rule: step on until all but half a frame is seen
        starts.append(len(starts) * apart)
    found = list(sliding_windows(duration, long, apart, 1 / fps))
    assert [start for start, _ in found] == pytest.approx(starts)
    assert [end for _, end in found[:-1]] == pytest.approx([start + long for start in starts[:-1]])
    assert found[-1][1] == duration
    for first in (1, len(found) - 1, len(found)):
        assert list(sliding_windows(duration, long, apart, 1 / fps, first=first)) == found[first:]


def test_window_rests_and_bad_steps() -> None:
    assert list(sliding_windows(10, 4, 4)) == [(0, 4), (4, 8), (8, 10)]
    assert list(sliding_windows(8, 4, 4)) == [(0, 4), (4, 8)]
    assert list(sliding_windows(8.01, 4, 4, 0.04)) == [(0, 4), (4, 8.01)]  # a quarter of a frame is no window
    assert list(sliding_windows(3, 8, 8)) == [(0, 3)]
    assert sum(1 for _ in sliding_windows(3600, 0.1, 0.1, 0.04)) == 36000  # a tenth is not exact, its multiples are
    for window, step in ((4, 5), (4, 0), (0, 1), (-1, -1), (float("nan"), 1)):
        with pytest.raises(KinemaError, match="0 < step <= window"):
            sliding_windows(10, window, step)
    with pytest.raises(KinemaError, match="counted from 0"):
        sliding_windows(10, 4, 4, first=-1)


# --- drawn clips


def test_normal_uniform_draws_the_frames_after_a_normal_start_uniformly() -> None:
    """Thesis, figure 5.6: mean and deviation of the start, and the same probability for every frame after it."""
    n, spec = 400, ClipSpec(frames=8, sampler="normal_uniform", stride=3)
    rng = np.random.default_rng(0)
    clips = np.stack([train_indices(n, spec, rng) for _ in range(4000)])
    assert (np.diff(clips) > 0).all()  # in order, none twice
    assert clips.max() < n
    starts = clips[:, 0]
    assert starts.max() <= n / 2
    assert abs(starts.mean() - n / 4) < 3  # by symmetry of the cut-off distribution; 0.9 is one standard error
    # Where in the rest of the video the others lie, as a share: uniform, so its deciles hold a tenth each.
    share = (clips[:, 1:] - starts[:, None] - 0.5) / (n - 1 - starts[:, None])
    counted = np.histogram(share, bins=10, range=(0, 1))[0] / share.size
    assert np.abs(counted - 0.1).max() < 0.01
    assert np.median(np.diff(clips)) > 3  # not the stride


@pytest.mark.parametrize("n", [8, 9, 30])
def test_normal_uniform_takes_every_length(n: int) -> None:
    spec = ClipSpec(frames=8, sampler="normal_uniform")
    for seed in range(50):
        clip = train_indices(n, spec, np.random.default_rng(seed))
        assert len(set(clip.tolist())) == 8
        assert 0 <= clip.min() <= clip.max() < n
    one, three = clip_indices(n, spec, 1), clip_indices(n, spec, 3)
    assert one.shape == (1, 8)
    assert (one[:, -1] == n - 1).all()
    assert three[0, 0] == 0
    assert three[-1, 0] == min(n // 2, n - 8)


def test_drawn_test_clips_are_those_of_training_in_order() -> None:
    spec = ClipSpec(frames=4)
    drawn = random_indices(40, spec, 10, np.random.default_rng(5))
    assert drawn.tolist() == random_indices(40, spec, 10, np.random.default_rng(5)).tolist()
    assert drawn.tolist() != random_indices(40, spec, 10, np.random.default_rng(6)).tolist()
    rng = np.random.default_rng(5)
    assert drawn.tolist() == sorted(train_indices(40, spec, rng).tolist() for _ in range(10))
    with pytest.raises(KinemaError, match="0 test clips"):
        random_indices(40, spec, 0, rng)
