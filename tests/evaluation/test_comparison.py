from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from evaluation.made_tests import made_test

from kinema.errors import KinemaError
from kinema.evaluation import mcnemar, paired_bootstrap
from kinema.evaluation.comparison import ClassGain, HardPair, compare

TRUTH = ["a", "a", "a", "b", "b", "c", "c", "c"]
FIRST = ["a", "b", "b", "b", "c", "c", None, "a"]
SECOND = ["a", "a", "b", "a", "c", "c", "c", None]
RIGHT_A = [1, 0, 0, 1, 0, 1, 0, 0]
RIGHT_B = [1, 1, 0, 0, 0, 1, 1, 0]


def test_the_figures_by_hand() -> None:
    found = compare(made_test("A", TRUTH, FIRST), made_test("B", TRUTH, SECOND))
    assert found.videos == 8
    assert (found.first.name, found.second.name) == ("A", "B")
    assert (found.first.top1, found.second.top1) == (3 / 8, 4 / 8)
    assert found.mcnemar == mcnemar(RIGHT_A, RIGHT_B)
    assert found.mcnemar.table == ((2, 2), (1, 3))
    assert found.difference == paired_bootstrap(RIGHT_A, RIGHT_B)
    assert found.first.mean_class == pytest.approx(np.mean([1 / 3, 1 / 2, 1 / 3]))
    assert found.second.mean_class == pytest.approx(np.mean([2 / 3, 0, 2 / 3]))
    assert found.first.compared == found.first.whole
    assert str(found.second.compared) == "8 expected / 7 read / 1 failed"
    assert found.per_class == (  # the largest gain first, the largest loss last
        ClassGain("a", 3, 1 / 3, 2 / 3, 1, 0),
        ClassGain("c", 3, 1 / 3, 2 / 3, 1, 0),
        ClassGain("b", 2, 1 / 2, 0.0, 0, 1),
    )
    # a-b: A says b of an a twice, B once, and B says a of a b; b-c: once each; a-c: A once.
    assert found.pairs == (
        HardPair(("a", "b"), 5, 2, 2),
        HardPair(("b", "c"), 5, 1, 1),
        HardPair(("a", "c"), 6, 1, 0),
    )
    assert found.remarks == tuple(
        f"1 of the videos could not be read for {name} alone and count as its errors" for name in "AB"
    )


def test_the_order_of_the_videos_and_of_the_labels_plays_no_part() -> None:
    rng = np.random.default_rng(0)
    order = rng.permutation(len(TRUTH))
    paths = [f"{i}.mp4" for i in range(len(TRUTH))]
    truth, said, names = ([values[i] for i in order] for values in (TRUTH, SECOND, paths))
    first, second = made_test("A", TRUTH, FIRST), made_test("B", TRUTH, SECOND)
    shuffled = made_test("B", truth, said, labels=("c", "a", "b"), paths=names)
    one, other = compare(first, second), compare(first, shuffled)
    assert one == other


def test_swapped_sides_give_the_opposite() -> None:
    one = compare(made_test("A", TRUTH, FIRST), made_test("B", TRUTH, SECOND))
    other = compare(made_test("B", TRUTH, SECOND), made_test("A", TRUTH, FIRST))
    assert other.difference.difference == -one.difference.difference
    assert (other.mcnemar.statistic, other.mcnemar.p_exact) == (one.mcnemar.statistic, one.mcnemar.p_exact)
    assert {(c.label, c.gained, c.lost) for c in other.per_class} == {
        (c.label, c.lost, c.gained) for c in one.per_class
    }
    assert all(x.second - x.first >= y.second - y.first for x, y in pairwise(other.per_class))


def test_only_the_videos_of_both_count_and_the_others_are_named() -> None:
    paths = [f"{i}.mp4" for i in range(8)]
    second = made_test("B", TRUTH[2:], SECOND[2:], paths=paths[2:])
    found = compare(made_test("A", TRUTH, FIRST), second)
    assert found.videos == 6
    assert found.mcnemar == mcnemar(RIGHT_A[2:], RIGHT_B[2:])
    assert (found.first.compared.expected, found.first.whole.expected) == (6, 8)
    assert found.remarks[0] == (
        "2 of 8 videos of A are not in the test of B (first: 0.mp4): only the 6 videos of both are compared"
    )


def test_parts_of_a_video_are_told_apart_by_their_times() -> None:
    spans = [(0.0, 1.0), (1.0, None)]
    first = made_test("A", ["a", "b"], ["a", "a"], paths=["v", "v"], spans=spans)
    second = made_test("B", ["b", "a"], ["b", "a"], paths=["v", "v"], spans=spans[::-1])
    assert compare(first, second).mcnemar.table == ((1, 1), (0, 0))


def test_remarks_say_what_was_different() -> None:
    documents = [
        {"test": {"split": "test", "views": views, "data": "x"}, "protocol": {"clip": {"frames": frames, "crop": 32}}}
        for views, frames in (("1x1", 8), ("10x3", 16))
    ]
    first = made_test("A", TRUTH, TRUTH, document=documents[0])
    second = made_test("B", TRUTH, TRUTH, labels=("a", "b", "c", "d", "e"), root="/moved", document=documents[1])
    assert compare(first, second).remarks == (
        "the videos were in /data and in /moved: they are paired by their paths inside these folders, which is correct "
        "only if both contain the same videos",
        "B chooses among 5 labels, of which A lacks 2 (d, e)",
        "A and B were tested differently: views (1x1 and 10x3), frames (8 and 16)",
    )
    assert compare(first, made_test("C", TRUTH, TRUTH, document=documents[0])).remarks == ()


def test_absent_videos_are_the_first_doubt() -> None:
    documents = [{"test": {}, "metrics": {"coverage": {"absent": n}}} for n in (4, 1, 0)]
    few, one, none = (made_test(name, TRUTH, TRUTH, document=d) for name, d in zip("ABC", documents, strict=True))
    found = compare(few, made_test("D", TRUTH, TRUTH, root="/moved", document=documents[1]))
    assert found.remarks[0] == (
        "A was tested without 4 videos that the annotation names (absent, left out): its figures are of the others"
    )
    assert found.remarks[1].startswith("D was tested without 1 video that")
    assert (found.first.whole.absent, found.second.whole.absent) == (4, 1)
    assert found.first.compared.absent == 0
    assert [remark.split()[0] for remark in compare(none, one).remarks] == ["B"]


@pytest.mark.parametrize("metrics", [None, [], {}, {"coverage": None}, {"coverage": {"absent": None}}])
def test_a_file_that_says_nothing_of_absent_videos(metrics: object) -> None:
    tests = [made_test(name, TRUTH, TRUTH, document={"test": {}, "metrics": metrics}) for name in "AB"]
    assert compare(*tests).remarks == ()
    assert tests[0].coverage.absent == 0


def test_other_videos_of_the_same_names_are_told_by_their_sizes() -> None:
    sizes = [1000 + i for i in range(8)]
    first = made_test("A", TRUTH, FIRST, sizes=sizes)
    copied = compare(first, made_test("B", TRUTH, SECOND, sizes=sizes, root="/copy"))
    assert (copied.videos, len(copied.remarks)) == (8, 3)
    assert "the videos were in /data and in /copy" in copied.remarks[2]
    with pytest.raises(KinemaError) as caught:
        compare(first, made_test("B", TRUTH, SECOND, sizes=[None, 1, *sizes[2:4], 2, 3, 4, 5]))
    assert str(caught.value) == (
        "1.mp4: has 1001 bytes in /runs/A/test-test/scores.parquet and 1 in /runs/B/test-test/scores.parquet (5 of 7 "
        "videos differ in size): these are different videos with the same names; test both on the same data"
    )
    mended = compare(first, made_test("B", TRUTH, SECOND, sizes=[1, *sizes[1:]]))
    assert mended.videos == 8
    assert mended.remarks[-1] == (
        "1 video of 8 had another size in the test of B (first: 0.mp4): the two were tested on other files there"
    )
    assert compare(first, made_test("B", TRUTH, SECOND)).videos == 8  # from before sizes were kept


def test_what_cannot_be_compared_is_refused_in_one_sentence() -> None:
    first = made_test("A", TRUTH, FIRST)
    with pytest.raises(KinemaError, match="compared with itself"):
        compare(first, made_test("A", TRUTH, SECOND))
    with pytest.raises(
        KinemaError, match=r"share no video \(first ones: '0.mp4' and 'x'\); test both on the same data"
    ):
        compare(first, made_test("B", ["a"], ["a"], paths=["x"]))
    with pytest.raises(KinemaError, match=r"1\.mp4: is 'a' in .* and 'b' in .* \(2 of 8 videos differ"):
        compare(first, made_test("B", ["a", "b", "b", *TRUTH[3:]], SECOND))
    with pytest.raises(KinemaError, match="lists 'x' twice"):
        compare(first, made_test("B", ["a", "a"], ["a", "a"], paths=["x", "x"]))


def test_plain_values() -> None:
    values = compare(made_test("A", TRUTH, FIRST), made_test("B", TRUTH, SECOND)).to_dict()
    back = json.loads(json.dumps(values))
    assert back["mcnemar"]["table"] == [[2, 2], [1, 3]]
    assert back["per_class"][0]["label"] == "a"
    assert back["bootstrap"] == {"level": 0.95, "resamples": 2000, "seed": 0}
