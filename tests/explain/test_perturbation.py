"""Deletion and insertion against a slow reference, and on networks whose evidence is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from explain.planted import Colour, Corner
from scipy.ndimage import gaussian_filter1d

from kinema.errors import KinemaError
from kinema.explain.perturbation import baseline_clips, perturbation_curves

SHAPE = (3, 4, 16, 16)


def clips_of(seed: int = 0, n: int = 3) -> torch.Tensor:
    return torch.randn(n, 3, *SHAPE[1:], generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("baseline", ["blur", "freeze", "mean"])
@pytest.mark.parametrize("steps", [1, 4, 7])
def test_curves_equal_a_slow_reference(baseline: str, steps: int) -> None:
    torch.manual_seed(0)
    model, clips, targets = Colour().eval(), clips_of(), [0, 2, 1]
    maps = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1))
    found = perturbation_curves(model, clips, targets, maps, baseline=baseline, steps=steps, batch=5)
    base = baseline_clips(clips, baseline)
    voxels = maps[0].numel()
    for n, target in enumerate(targets):
        order = sorted(range(voxels), key=lambda v, n=n: -float(maps[n].flatten()[v]))
        for step in range(steps + 1):
            gone = order[: round(step * voxels / steps)]
            for curve, kept, put in ((found.deletion, clips, base), (found.insertion, base, clips)):
                x = kept[n].clone().flatten(1)
                x[:, gone] = put[n].flatten(1)[:, gone]
                with torch.no_grad():
                    score = model(x.view_as(clips[n])[None]).softmax(1)[0, target]
                assert float(curve[n, step]) == pytest.approx(float(score), abs=1e-5)
    assert np.allclose(found.areas[0].numpy(), np.trapezoid(found.deletion.numpy(), found.shares.numpy()), atol=1e-6)


def test_the_right_map_beats_the_wrong_one_and_equal_values_are_shuffled() -> None:
    model = Corner(slice(1, 3), slice(0, 6), slice(0, 6))
    clips = clips_of()
    clips[:, :, 1:3, :6, :6] += 1
    right = model.evidence(SHAPE)
    areas = {}
    for name, maps in {"right": right, "wrong": 1 - right, "flat": torch.zeros(SHAPE)}.items():
        deletion, insertion = perturbation_curves(model, clips, [1] * 3, maps, baseline="mean").areas
        areas[name] = (insertion - deletion).mean()
    assert areas["right"] > 0.1 and areas["wrong"] < -0.1 and abs(areas["flat"]) < 0.05


def test_the_order_of_equal_values_follows_the_seed() -> None:
    model, clips, flat = Corner(slice(0, 4), slice(0, 6), slice(0, 6)), clips_of(), torch.ones(SHAPE)
    one, same, other = (perturbation_curves(model, clips, [1] * 3, flat, seed=s).deletion for s in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_baselines() -> None:
    clips = clips_of(3)
    blurred = baseline_clips(clips, "blur")
    reference = gaussian_filter1d(gaussian_filter1d(clips.numpy(), 1.0, 3, mode="constant"), 1.0, 4, mode="constant")
    assert np.allclose(blurred[..., 5:11, 5:11], reference[..., 5:11, 5:11], atol=1e-3)  # far from the borders
    assert torch.allclose(baseline_clips(torch.ones_like(clips)), torch.ones_like(clips), atol=1e-5)
    frozen = baseline_clips(clips, "freeze")
    assert all(torch.equal(frozen[:, :, t], clips[:, :, 2]) for t in range(4))
    assert torch.allclose(baseline_clips(clips, "mean")[1, 2, 3, 4, 5], clips[1, 2].mean())


def test_a_network_that_sees_only_movement_is_blind_to_a_frozen_clip() -> None:
    class Movement(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            moved = (x[:, :, 1:] - x[:, :, :-1]).square().mean((1, 2, 3, 4))
            return torch.stack([torch.ones_like(moved), moved], 1)

    clips = clips_of()
    curves = perturbation_curves(Movement(), clips, [1] * 3, torch.rand(SHAPE), baseline="freeze")
    assert torch.allclose(curves.insertion[:, 0], torch.tensor(1 / (1 + torch.e)), atol=1e-5)


def test_the_network_is_left_as_it_was() -> None:
    model = Colour()
    model.second.eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    perturbation_curves(model, clips_of(), [0, 1, 2], torch.rand(SHAPE))
    assert model.training and model.first.training and not model.second.training and not model.second[0].training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())

    class Broken(Colour):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("broken")

    broken = Broken()
    with pytest.raises(RuntimeError, match="broken"):
        perturbation_curves(broken, clips_of(), [0, 1, 2], torch.rand(SHAPE))
    assert broken.training


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"maps": torch.rand(3, 4, 16, 15)}, "maps"),
        ({"maps": torch.full(SHAPE, torch.nan)}, "maps"),
        ({"clips": torch.rand(3, 4, 16, 16)}, "clips"),
        ({"targets": [0, 1]}, "targets"),
        ({"targets": [0, 1, -1]}, "targets"),
        ({"targets": [0, 1, 3]}, "target is 3"),
        ({"steps": 0}, "steps"),
        ({"baseline": "blurr"}, "blur"),
    ],
)
def test_refuses(change: dict, field: str) -> None:
    given = {"clips": clips_of(), "targets": [0, 1, 2], "maps": torch.rand(SHAPE)} | change
    with pytest.raises(KinemaError, match=field):
        perturbation_curves(Colour(), **given)
