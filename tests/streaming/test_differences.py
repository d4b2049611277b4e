"""Where two recognizers see different actions in the same film."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from kinema.streaming.differences import Differing, differing_parts
from kinema.streaming.tracks import Track


def track(spans: list[tuple[float, float]], tops: list[int], classes: int, duration: float) -> Track:
    starts, ends = np.array(spans).T
    return Track(starts, ends, ends, np.eye(classes)[tops], duration)


def test_parts_are_compared_by_name_at_any_spacing() -> None:
    first = track([(0, 1), (1, 2), (2, 3), (3, 4)], [0, 0, 1, 1], 2, 4)
    second = track([(0, 1.5), (1.5, 4)], [2, 1], 3, 4)
    found, same = differing_parts(first, ["sit", "wave"], second, ["x", "wave", "sit"])
    assert found == [Differing(1.5, 2, "sit", "wave")]
    assert same == pytest.approx(3.5 / 4)


def test_parts_that_one_could_not_read_differ_and_those_of_neither_count_nowhere() -> None:
    first = track([(0, 1), (3, 4)], [0, 0], 1, 4)
    second = track([(0, 2), (3, 4)], [0, 0], 1, 4)
    found, same = differing_parts(first, ["sit"], second, ["sit"])
    assert found == [Differing(1, 2, None, "sit")]
    assert same == pytest.approx(2 / 3)


def test_equal_tracks_do_not_differ() -> None:
    rng = np.random.default_rng(0)
    edges = np.sort(rng.uniform(0, 9, 20))
    one = track(list(pairwise(edges)), list(rng.integers(0, 4, 19)), 4, 9)
    found, same = differing_parts(one, list("abcd"), one, list("abcd"))
    assert found == [] and same == 1
