from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from evaluation.made_tests import made_test
from scipy.stats import t, ttest_ind

from kinema.errors import KinemaError
from kinema.evaluation.groups import NOT_COMPARED, compare_groups, group_tests
from kinema.evaluation.many import compare_many
from kinema.evaluation.tested import Tested
from kinema.training.config import FREE

N = 80


def trained(name: str, right: int, *, seed: int = 0, model: str = "stm_r18", split: str = "test") -> Tested:
    config = {"model": model, "seed": seed, "out": f"runs/{name}", "workers": seed, "optim": {"lr": 0.1}}
    document = {
        "test": {"recognizer": name, "data": "d", "split": split, "views": "1x1"},
        "training": {"config": config},
        "architecture": {"name": model, "options": {}},
    }
    return made_test(name, ["a"] * N, ["a"] * right + ["b"] * (N - right), document=document)


SIX = [
    *(trained(f"stm_s{i}", right, seed=i) for i, right in enumerate((60, 64, 62))),
    *(trained(f"tsn_s{i}", right, seed=i, model="tsn_r18") for i, right in enumerate((40, 44, 48))),
]


def names(groups: dict[str, list[Tested]]) -> dict[str, list[str]]:
    return {name: [test.name for test in members] for name, members in groups.items()}


def test_what_may_differ_inside_a_group_is_what_does_not_belong_to_the_training() -> None:
    assert set(NOT_COMPARED) == {*FREE, "seed"}


def test_runs_that_differ_in_the_seed_alone_are_a_group() -> None:
    assert names(group_tests(SIX)) == {
        "stm": ["stm_s0", "stm_s1", "stm_s2"],
        "tsn": ["tsn_s0", "tsn_s1", "tsn_s2"],
    }
    assert group_tests([SIX[0], SIX[3]]) == {}
    other_protocol = trained("stm_s9", 3, seed=9, split="val")
    assert list(names(group_tests([*SIX[:2], other_protocol])).values()) == [["stm_s0", "stm_s1"], ["stm_s9"]]
    assert group_tests([made_test("x", ["a"], ["a"]), made_test("y", ["a"], ["a"])]) == {}


@pytest.mark.parametrize(
    ("members", "name"),
    [
        (("stm-seed0", "stm-seed1"), "stm"),
        (("stm_10", "stm_11"), "stm"),
        (("r3d_50 1", "r3d_50 2"), "r3d_50"),
        (("base/0", "base/1"), "base"),
        (("bass0", "bass1"), "bass"),
        (("0", "1"), "stm_r18"),
        (("步行1", "步行2"), "步行"),
    ],
)
def test_a_group_is_called_after_what_its_members_have_in_common(members: tuple[str, str], name: str) -> None:
    assert list(group_tests([trained(m, 3, seed=i) for i, m in enumerate(members)])) == [name]


def test_two_groups_of_the_same_name_stay_two() -> None:
    tests = [trained(f"run{i}", 30, seed=i % 2, model=("stm_r18", "tsn_r18")[i // 2]) for i in range(4)]
    assert [len(members) for members in group_tests(tests).values()] == [2, 2]


def test_means_and_differences_are_those_of_scipy() -> None:
    grouped = compare_groups(group_tests(SIX))
    stm, tsn = grouped.groups
    a, b = np.array([60, 64, 62]) / N, np.array([40, 44, 48]) / N
    assert (stm.top1, stm.spread) == pytest.approx((a.mean(), a.std(ddof=1)))
    assert stm.interval == pytest.approx(t.interval(0.95, 2, a.mean(), a.std(ddof=1) / 3**0.5))
    assert tsn.mean_class == pytest.approx(b.mean())
    (d,) = grouped.differences
    assert (d.first, d.second, d.videos) == ("stm", "tsn", N)
    assert d.difference == pytest.approx(b.mean() - a.mean())
    expected = ttest_ind(b, a, equal_var=False)
    assert d.p_seeds == pytest.approx(expected.pvalue)
    assert d.over_seeds == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert d.over_videos is not None
    assert d.over_videos[0] < d.difference < d.over_videos[1] < 0
    assert json.loads(json.dumps(grouped.to_dict()))["groups"][0]["name"] == "stm"


def test_a_group_of_one_has_no_spread_and_equal_members_no_test() -> None:
    grouped = compare_groups({"one": SIX[:1], "three": SIX[3:]})
    assert (grouped.groups[0].spread, grouped.groups[0].interval) == (None, None)
    assert (grouped.differences[0].over_seeds, grouped.differences[0].p_seeds) == (None, None)
    assert grouped.differences[0].over_videos is not None
    twins = [trained(f"t{i}", 40, seed=i) for i in range(4)]
    assert compare_groups({"a": twins[:2], "b": twins[2:]}).differences[0].p_seeds is None


def test_groups_are_compared_on_the_videos_of_all_members() -> None:
    short = SIX[4]
    result = replace(
        short.result, **{k: getattr(short.result, k)[:50] for k in ("paths", "spans", "truth", "errors", "sizes")},
        scores=short.result.scores[:50], distinct_views=short.result.distinct_views[:50],
    )  # fmt: skip
    (d,) = compare_groups({"a": SIX[:3], "b": [SIX[3], replace(short, result=result)]}).differences
    assert d.videos == 50
    elsewhere = made_test("z", ["a"] * N, ["a"] * N, paths=[f"z{i}" for i in range(N)])
    (d,) = compare_groups({"a": SIX[:3], "b": [SIX[3], elsewhere]}).differences
    assert d.refused is not None and "share no video" in d.refused
    assert (d.difference, d.over_videos) == (None, None)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (["stm"], "stm: give NAME=PATTERN"),
        (["=x"], "=x: give NAME=PATTERN"),
        (["a="], "a=: give NAME=PATTERN"),
        (["a=stm*", "a=tsn*"], "'a' is given twice"),
        (["a=stm*"], "tsn_s0 matches no pattern"),
        (["a=*", "b=tsn*"], "tsn_s0 matches the patterns of a and b"),
        (["a=*", "b=nothing"], "b=nothing: matches no run"),
    ],
)
def test_bad_groups_are_refused(named: list[str], said: str) -> None:
    with pytest.raises(KinemaError, match="--groups") as caught:
        group_tests(SIX, named)
    assert said in str(caught.value)


def test_groups_by_pattern() -> None:
    assert names(group_tests(SIX, ["all=*"])) == {"all": [test.name for test in SIX]}
    assert list(group_tests(SIX, ["B = tsn*", "A=stm*"])) == ["B", "A"]


def test_many_tests_at_once() -> None:
    found = compare_many(SIX)
    assert len(found.grid.cells) == 15
    assert found.grouped is not None
    assert [row.top1 for row in found.runs][:2] == [60 / N, 64 / N]
    assert found.runs[0].ece == pytest.approx(abs(0.8 - 60 / N))
    assert compare_many(SIX[::3]).grouped is None
    with pytest.raises(KinemaError, match="named twice"):
        compare_many([SIX[0], SIX[0]])
