from __future__ import annotations

import numpy as np
import pytest
from evaluation.made_tests import made_test
from scipy.stats import binomtest

from kinema.errors import KinemaError
from kinema.evaluation.class_pairs import compare_pairs, parse_pairs
from kinema.evaluation.statistics import pair_accuracy, pair_credits

LABELS = ("open", "close", "on/off", "off", "on", "wave")
TRUTH = ["open"] * 6 + ["close"] * 6 + ["wave"] * 3
FIRST = made_test("first", TRUTH, ["open"] * 3 + ["close"] * 3 + ["close"] * 6 + ["wave"] * 3, labels=LABELS)
SECOND = made_test("second", TRUTH, ["open"] * 6 + ["close"] * 5 + [None] + ["open"] * 3, labels=LABELS)


def test_each_pair_is_judged_on_its_own_videos() -> None:
    (found,) = compare_pairs([FIRST, SECOND], [("open", "close")])
    assert (found.first, found.second, found.videos) == ("first", "second", 12)
    assert found.accuracies == pytest.approx((9 / 12, 11 / 12))
    assert found.difference is not None
    assert found.difference.difference == pytest.approx(2 / 12)
    assert found.p == pytest.approx(binomtest(3, 4).pvalue)  # three gained, the unreadable one lost
    reference = pair_accuracy(TRUTH, SECOND.result.scores, LABELS, [("open", "close")])
    assert found.accuracies[1] == pytest.approx(reference.overall)


def test_of_videos_that_both_hold_and_pairs_without_any() -> None:
    half = made_test("half", TRUTH[::2], FIRST.result.predictions[::2], labels=LABELS,
                     paths=[f"{i}.mp4" for i in range(0, 15, 2)])  # fmt: skip
    there, none = compare_pairs([FIRST, half], [("open", "close"), ("on", "off")])
    assert (there.videos, there.p) == (6, 1.0)
    assert (none.videos, none.accuracies, none.difference, none.p) == (0, None, None, None)


def test_credits_are_what_the_accuracy_is_the_mean_of() -> None:
    scores = [[0.9, 0.1, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0, 0], [0.1, 0.9, 0, 0, 0, 0], [np.nan] * 6]
    credit = pair_credits(["open"] * 4, scores, LABELS, ("open", "close"))
    assert credit.tolist() == [1, 0.5, 0, 0]
    with pytest.raises(KinemaError, match="'wave'"):
        pair_credits(["wave"], scores[:1], LABELS, ("open", "close"))


@pytest.mark.parametrize(
    ("word", "pair"),
    [
        ("open/close", ("open", "close")),
        (" open / close ", ("open", "close")),
        ("on/off/wave", ("on/off", "wave")),
        ("wave/on/off", ("wave", "on/off")),
    ],
)
def test_pairs_are_written_with_a_slash(word: str, pair: tuple[str, str]) -> None:
    assert parse_pairs([word, word], [FIRST, SECOND]) == [pair]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("open", "give two labels"),
        ("", "give two labels"),
        ("/", "give two labels"),
        ("open/clos", "did you mean 'close'"),
        ("opn/close", "did you mean 'open'"),
        ("open/open", "names one label twice"),
        ("on/off/off", None),
    ],
)
def test_what_is_no_pair_is_refused(word: str, said: str | None) -> None:
    if said is None:  # `on/off` and `off`: there is no label `off/off`
        assert parse_pairs([word], [FIRST]) == [("on/off", "off")]
        return
    with pytest.raises(KinemaError, match="--pairs") as caught:
        parse_pairs([word], [FIRST])
    assert said in str(caught.value)


def test_a_word_that_can_be_divided_in_two_ways_is_refused() -> None:
    odd = made_test("odd", ["a"], ["a"], labels=("a", "a/b", "b/c", "c"))
    with pytest.raises(KinemaError, match="2 ways"):
        parse_pairs(["a/b/c"], [odd])


def test_both_tests_must_know_the_labels() -> None:
    other = made_test("other", ["open"], ["open"], labels=("open", "shut"))
    with pytest.raises(KinemaError, match="close"):
        parse_pairs(["open/close"], [FIRST, other])
