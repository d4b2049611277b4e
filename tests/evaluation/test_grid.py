from __future__ import annotations

import json

import numpy as np
import pytest
from evaluation.made_tests import made_test
from scipy.stats import binomtest

from kinema.errors import KinemaError
from kinema.evaluation.grid import holm, mcnemar_grid

N = 60


def answers(right: int) -> list[str]:
    """The first `right` of N videos of class a are right."""
    return ["a"] * right + ["b"] * (N - right)


def slow_holm(ps: list[float]) -> list[float]:
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    return [min(1.0, max((len(ps) - k) * ps[order[k]] for k in range(order.index(i) + 1))) for i in range(len(ps))]


def test_holm_is_the_step_down_correction() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # by hand
    rng = np.random.default_rng(0)
    for n in (1, 2, 7):
        ps = (rng.random(n) ** 3).tolist()
        assert holm(ps) == pytest.approx(slow_holm(ps))
    assert holm([]) == []
    assert holm([0.9, 0.9]) == [1.0, 1.0]


def test_a_grid_compares_every_two_and_corrects_for_their_number() -> None:
    tests = [made_test(name, ["a"] * N, answers(right)) for name, right in (("x", 20), ("y", 24), ("z", 55))]
    grid = mcnemar_grid(tests)
    assert [(c.first, c.second) for c in grid.cells] == [("x", "y"), ("x", "z"), ("y", "z")]
    raw = [binomtest(0, 4).pvalue, binomtest(0, 35).pvalue, binomtest(0, 31).pvalue]
    assert [c.p for c in grid.cells] == pytest.approx(raw)
    assert [c.p_holm for c in grid.cells] == pytest.approx(slow_holm(raw))
    assert [c.verdict for c in grid.cells] == ["no difference shown", "better", "better"]
    turned = grid.cell("x", "z")
    assert turned is not None
    assert (turned.verdict, turned.difference) == ("worse", pytest.approx(-35 / 60))
    assert grid.cell("x", "x") is None
    with pytest.raises(KinemaError, match="nobody"):
        grid.cell("x", "nobody")
    assert json.loads(json.dumps(grid.to_dict()))["cells"][1]["verdict"] == "better"


def test_a_difference_that_only_many_comparisons_show_is_no_verdict() -> None:
    """Six disagreements one way: p = 0.031 alone, above 0.05 among three comparisons."""
    tests = [made_test(name, ["a"] * N, answers(right)) for name, right in (("x", 20), ("y", 26), ("z", 26))]
    grid = mcnemar_grid(tests)
    assert grid.cells[0].p == pytest.approx(0.03125)
    assert grid.cells[0].verdict == "no difference shown"
    assert mcnemar_grid(tests[:2]).cells[0].verdict == "better"


def test_what_cannot_be_compared_says_why_and_does_not_count() -> None:
    tests = [
        made_test("x", ["a"] * N, answers(20)),
        made_test("other", ["a"] * N, answers(20), paths=[f"other {i}.mp4" for i in range(N)]),
        made_test("y", ["a"] * N, answers(26)),
    ]
    grid = mcnemar_grid(tests)
    refused = grid.cell("other", "x")
    assert refused is not None and refused.refused is not None
    assert (refused.verdict, refused.p, refused.p_holm) == ("not compared", None, None)
    assert "share no video" in refused.refused
    compared = grid.cell("y", "x")
    assert compared is not None
    assert compared.p_holm == compared.p == pytest.approx(0.03125)
    with pytest.raises(KinemaError, match="at least two"):
        mcnemar_grid(tests[:1])
