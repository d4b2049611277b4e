"""Shapley values of frames: games whose values are known, the sum, and the error of drawn orders."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import torch
from explain.networks import Own, clip, left_as_it_was, zoo
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.explain.frames import frame_values
from kinema.explain.perturbation import baseline_clips


class Watching(nn.Module):
    """The logit of class 1 is a function of the mean of every frame."""

    feature_maps = ("seen",)

    def __init__(self, weights: Tensor, product: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.seen, self.classifier = nn.Identity(), nn.Linear(1, 2)
        self.weights, self.product = weights, product

    def forward(self, x: Tensor) -> Tensor:
        frames = self.seen(x).mean((1, 3, 4))  # N T
        logit = frames @ self.weights.to(frames)
        if self.product:
            logit = logit + frames[:, list(self.product)].prod(1)
        return torch.stack([torch.zeros_like(logit), logit], 1)


def score(model: nn.Module, x: Tensor, target: int) -> float:
    with torch.no_grad():
        return float(model.eval()(x).double().softmax(1)[0, target])


def slow_values(model: nn.Module, x: Tensor, base: Tensor, target: int) -> Tensor:
    """The mean over all orders."""
    frames = x.shape[2]
    total, orders = torch.zeros(frames, dtype=torch.float64), list(permutations(range(frames)))
    for order in orders:
        shown, before = base.clone(), score(model, base, target)
        for frame in order:
            shown[:, :, frame] = x[:, :, frame]
            after = score(model, shown, target)
            total[frame] += after - before
            before = after
    return total / len(orders)


@pytest.mark.parametrize("baseline", ["blur", "mean", "freeze"])
def test_equal_to_the_mean_over_all_orders(baseline: Any) -> None:
    model, x = Own().eval(), 3 * clip(4, 8)
    with left_as_it_was(model):
        values, errors = frame_values(model, x, 2, baseline=baseline)
    torch.testing.assert_close(values, slow_values(model, x, baseline_clips(x, baseline), 2), atol=1e-6, rtol=1e-4)
    assert not errors.any()


@pytest.mark.parametrize(("frames", "samples"), [(1, 4), (3, 4), (8, 4), (9, 4), (13, 8)])
def test_the_sum_is_the_difference_of_the_scores(frames: int, samples: int) -> None:
    model, x = Own().train(), 3 * clip(frames, 8)
    values, errors = frame_values(model, x, 1, samples=samples, batch=3)
    assert values.shape == errors.shape == (frames,)
    base = baseline_clips(x, "blur")
    assert float(values.sum()) == pytest.approx(score(model, x, 1) - score(model, base, 1), abs=1e-6)
    assert (errors > 0).any() == (frames > 8)


def test_a_frame_that_nothing_looks_at_is_worth_nothing_and_equal_ones_are_worth_the_same() -> None:
    weights = torch.tensor([0.0, 2.0, 0.0, 2.0, -1.0, 0.0])
    x = torch.ones(1, 3, 6, 4, 4)
    x[:, :, 5] = -4  # the mean colour, that of the baseline, is not 1
    values, _ = frame_values(Watching(weights), x, 1, baseline="mean")
    assert values[[0, 2, 5]].abs().max() < 1e-9
    assert float(values[1]) == pytest.approx(float(values[3]))
    assert values[1] > 0 > values[4]


def test_frames_that_count_only_together_share_their_worth() -> None:
    x = torch.ones(1, 3, 4, 4, 4)
    x[:, :, 0] = -3  # so that the baseline is 0 everywhere
    values, _ = frame_values(Watching(torch.zeros(4), product=(1, 2)), x, 1, baseline="mean")
    expected = (torch.tensor(1.0).sigmoid() - 0.5) / 2
    torch.testing.assert_close(values, torch.tensor([0, expected, expected, 0]).double(), atol=1e-6, rtol=0)


def test_drawn_orders_are_near_the_exact_values_within_their_errors() -> None:
    """Twelve frames in three equal groups: the exact values follow from symmetry and the sum."""
    weights = torch.tensor([0.5, 0.0, -0.25] * 4)
    x = torch.cat([torch.ones(1, 3, 12, 4, 4), torch.zeros(1, 3, 0, 4, 4)], 2)
    x[:, :, 11] = 1.5
    values, errors = frame_values(Watching(weights), x, 1, baseline="mean", samples=64, seed=1)
    many, _ = frame_values(Watching(weights), x, 1, baseline="mean", samples=1024, seed=2)
    assert ((values - many).abs() <= 4 * errors + 1e-9).all()
    assert errors.max() < 0.3 * many.abs().max()


def test_the_seed_decides_and_the_global_generator_does_not() -> None:
    model, x = Own().eval(), 3 * clip(10, 8)
    torch.manual_seed(1)
    first = frame_values(model, x, 1, samples=4, seed=5)
    torch.manual_seed(2)
    for a, b in zip(first, frame_values(model, x, 1, samples=4, seed=5), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first[0], frame_values(model, x, 1, samples=4, seed=6)[0])


def test_halves_and_contexts() -> None:
    model, x = zoo("tsn_r18"), clip(3)
    expected, _ = frame_values(model, x, 1)
    with torch.inference_mode():
        torch.testing.assert_close(frame_values(model, x, 1)[0], expected)
    half, _ = frame_values(model.bfloat16(), x, 1)
    torch.testing.assert_close(half, expected, atol=0.1, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"target": 3}, "target is 3"),
        ({"target": 0, "baseline": "blurr"}, "did you mean 'blur'"),
        ({"target": 0, "samples": 5}, "samples is 5: give an even number"),
        ({"target": 0, "samples": 2}, "samples is 2"),
        ({"target": 0, "batch": 0}, "batch is 0"),
        ({"target": 0, "clip": torch.zeros(2, 3, 4, 8, 8)}, "clip contains 2 clips"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], sentence: str) -> None:
    given = {"clip": clip(), **arguments}
    with pytest.raises(KinemaError, match=sentence):
        frame_values(Own(), given.pop("clip"), given.pop("target"), **given)
