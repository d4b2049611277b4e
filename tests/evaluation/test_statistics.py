from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, chi2

from kinema.errors import KinemaError
from kinema.evaluation import (
    bootstrap_interval,
    mcnemar,
    pair_accuracy,
    paired_bootstrap,
    share_interval,
    statistics,
)


def outcomes(both: int, only_b: int, only_a: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = np.repeat([True, False, True, False], [both, only_b, only_a, neither])
    b = np.repeat([True, True, False, False], [both, only_b, only_a, neither])
    order = np.random.default_rng(3).permutation(len(a))
    return a[order], b[order]


# Table 6.6 of the thesis, a to g: both right, only CR right, only the original right, both wrong, statistic, p.
THESIS = [
    (8112, 659, 576, 4314, 5.445, 1.9e-2),
    (8253, 654, 557, 4197, 7.610, 5.8e-3),
    (8216, 703, 527, 4215, 24.898, 6.0e-7),
    (8775, 473, 134, 4279, 188.211, 7.8e-43),
    (9516, 878, 707, 2560, 18.233, 1.9e-5),
    (9931, 678, 538, 2514, 15.889, 6.7e-5),
    (10176, 614, 496, 2375, 12.332, 4.4e-4),
]


@pytest.mark.parametrize(("both", "only_b", "only_a", "neither", "statistic", "p"), THESIS)
def test_mcnemar_gives_the_thesis_tables(
    both: int, only_b: int, only_a: int, neither: int, statistic: float, p: float
) -> None:
    found = mcnemar(*outcomes(both, only_b, only_a, neither))
    assert found.statistic == pytest.approx(statistic, abs=6e-4)  # the thesis cuts the digits off
    assert found.p == pytest.approx(p, rel=0.05)
    assert found.table == ((both, only_b), (only_a, neither))


def test_mcnemar_by_hand() -> None:
    found = mcnemar(*outcomes(4, 9, 2, 1))
    assert found.statistic == pytest.approx((7 - 1) ** 2 / 11)
    assert found.p == pytest.approx(chi2.sf(36 / 11, 1))
    assert found.p_exact == pytest.approx(2 * (1 + 11 + 55) / 2**11)  # at most 2 of 11 fair coins, both tails


def test_mcnemar_is_symmetric_and_exact_like_scipy() -> None:
    for only_b in range(8):
        for only_a in range(8):
            a, b = outcomes(5, only_b, only_a, 5)
            one, other = mcnemar(a, b), mcnemar(b, a)
            assert (one.statistic, one.p, one.p_exact) == (other.statistic, other.p, other.p_exact)
            if only_a + only_b:
                exact = binomtest(only_b, only_a + only_b).pvalue
                assert one.p_exact == pytest.approx(exact)


def test_mcnemar_without_disagreement_and_with_equal_ones() -> None:
    none = mcnemar([True, False], [True, False])
    assert (none.statistic, none.p, none.p_exact) == (0.0, 1.0, 1.0)
    equal = mcnemar(*outcomes(0, 5, 5, 0))
    assert (equal.statistic, equal.p, equal.p_exact) == (0.0, 1.0, 1.0)  # where equation 6.1 overshoots, to 1 / 10
    assert mcnemar(*outcomes(0, 6, 5, 0)).statistic == 0


def test_where_all_is_alike_intervals_are_exact() -> None:
    low, high = bootstrap_interval([1] * 8)
    assert (low, high) == (pytest.approx(binomtest(8, 8).proportion_ci(0.95, "exact").low), 1.0)
    low, high = bootstrap_interval([0] * 18, level=0.9)
    assert (low, high) == (0.0, pytest.approx(binomtest(0, 18).proportion_ci(0.9, "exact").high))
    same = paired_bootstrap([1, 0, 1, 1, 0], [1, 0, 1, 1, 0])
    most = binomtest(0, 5).proportion_ci(0.95, "exact").high
    assert (same.difference, same.low, same.high) == (0, pytest.approx(-most), pytest.approx(most))


def test_mcnemar_refuses_what_is_not_paired() -> None:
    with pytest.raises(KinemaError, match="3 videos of the first recognizer and 2 of the second"):
        mcnemar([1, 0, 1], [1, 0])
    with pytest.raises(KinemaError, match="McNemar"):
        mcnemar([1, 0.5], [1, 0])
    with pytest.raises(KinemaError, match="at least one video"):
        mcnemar([], [])
    with pytest.raises(KinemaError, match="one finite value per video"):
        mcnemar([np.nan], [1])


def loop_interval(values: np.ndarray, level: float, resamples: int, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(resamples):
        drawn = [values[i] for i in rng.integers(0, len(values), len(values))]
        means.append(sum(drawn) / len(drawn))
    tail = 100 * (1 - level) / 2
    return np.percentile(means, tail), np.percentile(means, 100 - tail)


@pytest.mark.parametrize("chunk", [1, 500, 10**7])
def test_bootstrap_equals_a_loop(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_CHUNK", chunk)
    correct = np.random.default_rng(1).random(40) < 0.7
    found = bootstrap_interval(correct, level=0.9, resamples=300, seed=5)
    assert found == pytest.approx(loop_interval(correct.astype(float), 0.9, 300, 5))


def wilson(right: int, n: int, z: float) -> tuple[float, float]:
    """The two shares p for which |right / n - p| is z standard errors of p."""
    share = right / n
    middle, half = share + z * z / (2 * n), z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


@pytest.mark.parametrize(("right", "videos"), [(0, 7), (7, 7), (1, 1), (3, 8), (812, 1000)])
def test_the_interval_of_a_share_is_wilsons(right: int, videos: int) -> None:
    found = share_interval(right, videos)
    assert found == pytest.approx(wilson(right, videos, 1.959963984540054), abs=1e-12)
    assert 0 <= found[0] < found[1] <= 1
    assert share_interval(right, videos, level=0.8)[0] >= found[0]


def test_the_interval_of_a_share_holds_it_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    for share, videos in ((0.5, 40), (0.9, 40), (0.98, 200)):
        right = rng.binomial(videos, share, 400)
        inside = [low <= share <= high for low, high in (share_interval(int(k), videos) for k in right)]
        assert 0.91 < np.mean(inside) < 0.99


def test_the_interval_of_a_share_refuses_nonsense() -> None:
    for right, videos in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(KinemaError, match=r"right .*videos"):
            share_interval(right, videos)
    with pytest.raises(KinemaError, match="level"):
        share_interval(1, 2, level=1.0)


def test_bootstrap_interval_is_about_the_normal_one() -> None:
    correct = np.arange(1000) < 800
    low, high = bootstrap_interval(correct)
    half = 1.96 * (0.8 * 0.2 / 1000) ** 0.5
    assert low == pytest.approx(0.8 - half, abs=0.004)
    assert high == pytest.approx(0.8 + half, abs=0.004)
    assert bootstrap_interval(correct) == (low, high)
    assert bootstrap_interval(correct, seed=1) != (low, high)


def test_bootstrap_refuses_nonsense() -> None:
    for bad in ({"level": 1.0}, {"level": 0.0}, {"resamples": 0}):
        with pytest.raises(KinemaError, match=next(iter(bad))):
            bootstrap_interval([1, 0], **bad)  # type: ignore[arg-type]
    assert bootstrap_interval([0.5]) == (0.5, 0.5)
    with pytest.raises(KinemaError, match="at least one video"):
        bootstrap_interval([])


def test_paired_bootstrap_draws_the_same_videos_for_both() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.random(60) < 0.5, rng.random(60) < 0.8
    found = paired_bootstrap(a, b, resamples=200, seed=9)
    assert found.difference == pytest.approx(b.mean() - a.mean())
    assert (found.low, found.high) == pytest.approx(loop_interval(b.astype(float) - a, 0.95, 200, 9))
    same = paired_bootstrap(a, a)
    assert same.low == -same.high < same.difference == 0


LABELS = ("wave", "sit", "stand", "open", "close")
PAIRS = (("sit", "stand"), ("open", "close"))


def test_pair_accuracy_by_hand() -> None:
    truth = ["sit", "stand", "stand", "open", "wave", "close"]
    scores = [
        [0.9, 0.06, 0.04, 0, 0],  # right inside its pair, though another label is higher
        [0.0, 0.30, 0.70, 0, 0],  # right
        [0.0, 0.70, 0.30, 0, 0],  # wrong
        [0.2, 0.20, 0.20, 0.2, 0.2],  # a tie
        [1.0, 0.00, 0.00, 0, 0],  # in no pair
        [np.nan] * 5,  # unreadable
    ]
    found = pair_accuracy(truth, scores, LABELS, PAIRS)
    assert found.per_pair == {("sit", "stand"): pytest.approx(2 / 3), ("open", "close"): pytest.approx(0.25)}
    assert found.overall == pytest.approx(2.5 / 5)
    assert (found.videos, found.ties) == (5, 1)


@pytest.mark.parametrize("spread", [0.0, 1e-5, 1e-4, 1e-3, 1.0])
def test_what_ignores_order_is_at_exactly_one_half(spread: float) -> None:
    """A clip and its reversed twin get the same scores up to rounding, however close to a tie they are."""
    rng = np.random.default_rng(4)
    for _ in range(200):
        n = 12
        first = 0.2 + spread * rng.uniform(-0.1, 0.1, (n, 5))
        twins = first + rng.uniform(-1e-5, 1e-5, (n, 5))
        names = [PAIRS[i % 2] for i in range(n)]
        truth = [pair[0] for pair in names] + [pair[1] for pair in names]
        found = pair_accuracy(truth, np.concatenate([first, twins]), LABELS, PAIRS)
        assert found.overall == 0.5
        assert set(found.per_pair.values()) == {0.5}


def test_a_twin_on_the_other_side_of_the_border_of_ties_is_still_its_twin() -> None:
    for margin in (1e-4 - 1e-6, 1e-4 + 1e-6, 1e-4 + 1.9e-5):
        scores = [[0, 0.5 + margin, 0.5, 0, 0], [0, 0.5 + margin + 1.5e-5, 0.5, 0, 0], [0, 0.9, 0.1, 0, 0]]
        found = pair_accuracy(["sit", "stand", "sit"], scores, LABELS, PAIRS)
        assert found.overall == pytest.approx((0.5 + 0.5 + 1) / 3)
        assert found.ties == 2


def test_dense_differences_do_not_make_everything_a_tie() -> None:
    margins = np.arange(0, 0.02, 1e-5)
    scores = np.zeros((len(margins), 5))
    scores[:, 1] = margins
    found = pair_accuracy(["sit"] * len(margins), scores, LABELS, PAIRS)
    assert found.ties == pytest.approx(11, abs=1)


def test_pair_accuracy_refuses_bad_pairs() -> None:
    scores = np.zeros((1, 5))
    with pytest.raises(KinemaError, match=r"unknown label of a pair 'stnd': did you mean 'stand'"):
        pair_accuracy(["sit"], scores, LABELS, [("sit", "stnd")])
    with pytest.raises(KinemaError, match="'sit' is in two pairs"):
        pair_accuracy(["sit"], scores, LABELS, [("sit", "stand"), ("open", "sit")])
    with pytest.raises(KinemaError, match="no video has a label of any pair"):
        pair_accuracy(["wave"], scores, LABELS, PAIRS)
    with pytest.raises(KinemaError, match=r"shape \(1, 5\) for 2 videos and 5 labels"):
        pair_accuracy(["sit", "sit"], scores, LABELS, PAIRS)
