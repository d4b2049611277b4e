"""Counting without running: against a count by hand, and without touching memory."""

from __future__ import annotations

import pytest

from kinema.errors import KinemaError
from kinema.evaluation.cost import count, environment


def test_a_small_network_by_hand() -> None:
    """tsn_r18 of 4 channels at 2 frames of 32x32: every convolution and the classifier, multiplied out."""
    macs = 2 * 16 * 16 * 4 * 3 * 49  # stem
    params = 4 * 3 * 49 + 2 * 4
    channels, side = 4, 8
    for stage, inner in enumerate((4, 8, 16, 32)):
        side = side if stage == 0 else side // 2
        for _ in range(2):
            macs += 2 * side * side * (inner * channels * 9 + inner * inner * 9)
            params += inner * channels * 9 + inner * inner * 9 + 4 * inner
            if channels != inner:
                macs += 2 * side * side * inner * channels
                params += inner * channels + 2 * inner
            channels = inner
    macs += 2 * 32 * 5  # the classifier sees both frames
    params += 32 * 5 + 5
    cost = count("tsn_r18", num_classes=5, frames=2, size=32, options={"width": 0.0625})
    assert (cost.macs, cost.params) == (macs, params)


def test_frames_and_size_scale_the_work_and_not_the_parameters() -> None:
    one, two = count("stm_r18", frames=8, size=64), count("stm_r18", frames=16, size=64)
    assert two.macs == 2 * one.macs
    assert two.params == one.params
    assert count("stm_r18").size == 224


def test_a_large_clip_is_counted_in_no_memory() -> None:
    assert count("stm_r50", frames=512, size=1024).macs > 40e12


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(KinemaError, match="size"):
        count("stm_r18", size=0)


def test_the_environment_names_machine_and_versions() -> None:
    assert {"torch", "threads", "cpu", "cores"} <= set(environment())
