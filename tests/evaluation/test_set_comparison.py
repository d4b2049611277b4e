"""Tests of several labels per video, two and many: mAP against scikit-learn's, the bootstrap, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluation.made_sets import LABELS, made_sets
from evaluation.made_tests import made_test

from kinema.data.label_sets import label_set
from kinema.errors import KinemaError
from kinema.evaluation.comparison import compare
from kinema.evaluation.comparison_files import disagreements
from kinema.evaluation.many import compare_many
from kinema.evaluation.set_comparison import compare_sets
from kinema.evaluation.set_many import compare_many_sets, mean_ap_grid
from kinema.evaluation.set_statistics import mean_ap_differences
from kinema.evaluation.tested import Tested


def only(test: Tested, rows: list[int]) -> Tested:
    """A test of some of the videos."""
    r = test.result
    columns = {name: tuple(getattr(r, name)[i] for i in rows) for name in ("paths", "spans", "truth", "errors")}
    columns |= {name: tuple(getattr(r, name)[i] for i in rows) for name in ("sizes", "distinct_views")}
    return replace(test, result=replace(r, scores=r.scores[rows], **columns))


def test_the_figures_are_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    a, b = made_sets("a", skill=0.5), made_sets("b", seed=1, skill=1.5)
    found = compare_sets(a, b)
    truth = np.array([[label in label_set(cell) for label in LABELS] for cell in a.result.truth])
    wanted = {
        label: [metrics.average_precision_score(truth[:, k], t.result.scores[:, k]) for t in (a, b)]
        for k, label in enumerate(LABELS[:3])
    }
    assert {c.label: pytest.approx([c.first, c.second], abs=1e-9) for c in found.per_class} == wanted
    assert [c.videos for c in sorted(found.per_class, key=lambda c: LABELS.index(c.label))] == list(truth.sum(0)[:3])
    means = np.mean(list(wanted.values()), axis=0)
    assert [found.first.mean_ap, found.second.mean_ap] == pytest.approx(means, abs=1e-9)
    assert found.difference.difference == pytest.approx(means[1] - means[0], abs=1e-9)
    assert (found.classes, found.without_positives) == (3, ("never",))
    gains = [c.second - c.first for c in found.per_class]
    assert gains == sorted(gains, reverse=True)
    assert found.to_dict()["multi_label"] is True


def test_the_bootstrap_draws_the_same_videos_for_both() -> None:
    """Against resamples that are drawn and ranked one by one."""
    metrics = pytest.importorskip("sklearn.metrics")
    a, b = made_sets("a", skill=0.8), made_sets("b", seed=1, skill=1.2)
    truth = a.result.truth_sets
    scores = [t.result.scores for t in (a, b)]
    (found,) = mean_ap_differences(truth, scores, [(-1, 1)], resamples=300)
    rng, drawn = np.random.default_rng(5), []
    for _ in range(300):
        rows = rng.integers(0, len(truth), len(truth))
        means = [
            np.mean([metrics.average_precision_score(truth[rows, k], s[rows, k]) for k in range(3)]) for s in scores
        ]
        drawn.append(means[1] - means[0])
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.std(drawn, ddof=1), rel=0.15)
    assert (found.high + found.low) / 2 == pytest.approx(found.difference)
    near = (scores[0] + np.random.default_rng(6).normal(0, 0.02, truth.shape)).astype(np.float32)
    (alike,) = mean_ap_differences(truth, [scores[0], near], [(-1, 1)], resamples=400)
    assert 0 < alike.high - alike.low < 0.5 * (found.high - found.low)  # what is hard for both cancels out


def test_a_clear_difference_is_found_and_none_where_there_is_none() -> None:
    weak, strong, twin = made_sets("a", skill=0.3), made_sets("b", seed=1, skill=3), made_sets("c", skill=0.3)
    clear = compare_sets(weak, strong).difference
    assert clear.low > 0
    assert clear.p < 1e-3
    none = compare_sets(weak, twin).difference
    assert (none.difference, none.low, none.high, none.p) == (0, 0, 0, 1)
    turned = compare_sets(strong, weak).difference
    assert (turned.low, turned.high) == pytest.approx((-clear.high, -clear.low))


def test_a_video_that_only_one_could_read_counts_against_the_other() -> None:
    whole, broken = made_sets("a", skill=2), made_sets("b", skill=2, unread=range(20))
    found = compare_sets(whole, broken)
    assert found.difference.difference < 0
    assert (found.second.compared.failed, found.first.compared.failed) == (20, 0)
    assert any("20 of the videos could not be read for b alone" in remark for remark in found.remarks)
    assert found.second.hit1 < found.first.hit1


def test_only_shared_videos_are_compared_in_any_order() -> None:
    a, b = made_sets("a", skill=0.5), made_sets("b", seed=1, skill=1.5)
    rows = list(range(40))
    part = compare_sets(a, only(b, rows[::-1]))
    assert part.videos == 40
    assert part.difference == compare_sets(only(a, rows), only(b, rows)).difference
    assert any("20 of 60 videos of a are not in the test of b" in remark for remark in part.remarks)


def test_recognizers_of_other_labels_are_compared_on_the_classes_that_occur() -> None:
    a = made_sets("a", skill=1)
    b = made_sets("b", seed=1, skill=1, labels=(*LABELS[:3], "jump"))
    found = compare_sets(a, b)
    assert (found.classes, found.without_positives) == (3, ("jump", "never"))
    assert any("'" not in remark and "of which b lacks 1 (never)" in remark for remark in found.remarks)


def test_every_two_of_many_with_groups() -> None:
    tests = [
        made_sets(f"{name}_s{seed}", seed=10 * k + seed, skill=(0.3, 2.5)[k], document=document(name, seed))
        for k, name in enumerate(("weak", "strong"))
        for seed in range(3)
    ]
    found = compare_many_sets(tests)
    assert len(found.grid.cells) == 15
    verdicts = {(c.first[:4], c.second[:4]): c.verdict for c in found.grid.cells}
    assert verdicts["weak", "stro"] == "better"
    for cell in found.grid.cells:
        single = compare_sets(*(test for test in tests if test.name in (cell.first, cell.second)))
        assert (cell.difference, cell.interval) == (
            single.difference.difference, (single.difference.low, single.difference.high),
        )  # fmt: skip
        assert cell.p is not None
        assert cell.p_holm is not None
        assert cell.p <= cell.p_holm <= 15 * cell.p
    turned = found.grid.cell("weak_s0", "strong_s0")
    straight = found.grid.cell("strong_s0", "weak_s0")
    assert turned is not None
    assert straight is not None
    assert straight.interval is not None
    assert (turned.verdict, turned.interval) == ("worse", (-straight.interval[1], -straight.interval[0]))
    assert found.grouped is not None
    assert [g.members for g in found.grouped.groups] == [tuple(t.name for t in tests[k : k + 3]) for k in (0, 3)]
    means = [np.mean([t.set_metrics.mean_ap for t in tests[k : k + 3]]) for k in (0, 3)]
    assert [g.mean_ap for g in found.grouped.groups] == pytest.approx(means)
    (difference,) = found.grouped.differences
    assert difference.difference == pytest.approx(means[1] - means[0])
    assert difference.over_videos is not None
    assert 0 < difference.over_videos[0] < means[1] - means[0] < difference.over_videos[1]
    assert found.per_class["never"] == (None,) * 6
    assert found.per_class["sit"][4] == tests[4].set_metrics.per_class[0].average_precision


def document(name: str, seed: int) -> dict:
    return {
        "test": {"recognizer": name, "data": "d", "split": "test", "views": "1x1"},
        "training": {"config": {"model": name, "seed": seed}},
    }


def test_twins_differ_as_seldom_as_the_level_says() -> None:
    """Pairs of recognizers of the same skill: about 5 in 100 may seem to differ."""
    seeming = 0
    for seed in range(100):
        a, b = (made_sets("a", seed=2 * seed + i, skill=1.0, videos=80).result for i in range(2))
        (found,) = mean_ap_differences(a.truth_sets, [a.scores, b.scores], [(-1, 1)], resamples=100)
        seeming += found.p < 0.05
    assert seeming <= 12  # of a share of 0.05, 12 or fewer have a probability of 0.998


def test_pairs_that_cannot_be_compared_say_why() -> None:
    a, b = made_sets("a"), made_sets("b", seed=1)
    other = replace(b, name="c", result=replace(b.result, paths=tuple(f"x{p}" for p in b.result.paths)))
    other = replace(other, file=other.file.parents[2] / "c" / "scores.parquet")
    cells = {(c.first, c.second): c for c in mean_ap_grid([a, b, other]).cells}
    assert cells["a", "b"].verdict != "not compared"
    refused = cells["a", "c"].refused
    assert refused is not None
    assert "share no video" in refused
    assert cells["b", "c"].p_holm is None


def test_disagreements_are_videos_with_other_predictions() -> None:
    a, b = made_sets("a", skill=1), made_sets("b", seed=1, skill=1, unread=[3])
    head, rows = disagreements(a, b)
    wanted = [i for i, (x, y) in enumerate(zip(a.result.predictions, b.result.predictions, strict=True)) if x != y]
    assert head[-2:] == ("a", "b")
    assert [row[0] for row in rows] == [f"{i}.mp4" for i in wanted]
    assert 3 in wanted


def test_what_is_refused() -> None:
    a, b = made_sets("a"), made_sets("b", seed=1)
    one = made_test("one", ["a", "b"], ["a", "b"])
    with pytest.raises(KinemaError, match=r"/runs/one/.*/runs/a/"):
        compare_sets(a, one)
    with pytest.raises(KinemaError, match=r"/runs/one/.*/runs/b/"):
        compare(one, b)
    with pytest.raises(KinemaError, match="a and b"):
        compare(a, b)
    with pytest.raises(KinemaError, match="with itself"):
        compare_sets(a, a)
    with pytest.raises(KinemaError, match="named twice"):
        compare_many_sets([a, b, a])
    with pytest.raises(KinemaError, match="one label per video"):
        compare_sets(one, made_test("two", ["a", "b"], ["a", "b"]))
    with pytest.raises(KinemaError, match="one label per video"):
        compare_many_sets([one, made_test("two", ["a", "b"], ["a", "b"])])
    with pytest.raises(KinemaError, match=r"/runs/one/.*/runs/a/"):
        compare_many([one, a])
    bare = [replace(t, result=replace(t.result, truth=(";",) * 60)) for t in (a, b)]
    with pytest.raises(KinemaError, match="no compared video has a label"):
        compare_sets(*bare)
    with pytest.raises(KinemaError, match="shape"):
        mean_ap_differences(a.result.truth_sets, [a.result.scores[:3]], [[1]])


def test_one_video_gives_no_interval() -> None:
    a, b = (only(made_sets(name, seed=i), [next(i for i in range(60))]) for i, name in enumerate("ab"))
    truth = np.ones((1, 4), dtype=bool)
    (found,) = mean_ap_differences(truth, [a.result.scores, b.result.scores], [(-1, 1)])
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
