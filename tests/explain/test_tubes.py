"""Saliency Tubes on networks whose answer is known, against a slow reference, and on every network of the zoo."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
from explain.networks import Own, Planted, checkpointed, clip, families, left_as_it_was, zoo
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.explain.class_weights import class_features
from kinema.explain.tubes import class_activation, normalised, saliency_tubes, tube_of

FLAT = torch.randn(1, 3, 8, 16, 16, generator=torch.Generator().manual_seed(5))


def peak(*shape: int, at: tuple[int, ...]) -> Tensor:
    maps = torch.zeros(shape)
    maps[at] = 1.0
    return maps


def slow_tube(maps: Tensor, weights: Tensor, size: tuple[int, int, int], threshold: float = 0.0) -> np.ndarray:
    """The thesis, one channel after the other."""
    y = weights.double().numpy()
    scaled = (y - y.min()) / (y.max() - y.min())
    total = np.zeros(size)
    for a, weight, share in zip(maps.double().numpy(), y, scaled, strict=True):
        if share >= threshold:
            f = weight * a
            z = (f - f.min()) / (f.max() - f.min()) if f.max() > f.min() else np.zeros_like(f)
            total += scipy.ndimage.zoom(z, [m / n for m, n in zip(size, z.shape, strict=True)], order=3,
                                        mode="mirror") ** 2  # fmt: skip
    low, high = total.min(), total.max()
    return (total - low) / (high - low) if high > low else np.zeros(size)


@pytest.mark.parametrize("style", ["tube", "cam"])
@pytest.mark.parametrize("size", [(13, 182, 182), (16, 57, 91), (4, 7, 7), (5, 3, 2)])
def test_the_size_is_that_of_the_clip_and_values_lie_in_the_unit_interval(style: Any, size: Any) -> None:
    model = Planted(torch.randn(6, 4, 7, 7), torch.randn(3, 6))
    found = saliency_tubes(model, torch.randn(3, *size), 1, style=style)
    assert found.shape == size
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert found.min() == 0
    assert found.max() == 1


@pytest.mark.parametrize("style", ["tube", "cam"])
@pytest.mark.parametrize("at", [(0, 0, 0), (3, 6, 6), (1, 2, 5), (2, 4, 0)])
def test_a_planted_peak_lands_at_the_scaled_position(style: Any, at: tuple[int, int, int]) -> None:
    model = Planted(peak(2, 4, 7, 7, at=(0, *at)), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    found = saliency_tubes(model, torch.zeros(1, 3, 13, 49, 25), 0, style=style)
    where = np.unravel_index(int(found.argmax()), found.shape)
    expected = [i * (wide - 1) / (n - 1) for i, n, wide in zip(at, (4, 7, 7), (13, 49, 25), strict=True)]
    assert np.abs(np.array(where) - expected).max() <= 0.5


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.8, 1.0])
def test_equal_to_the_slow_reference(threshold: float) -> None:
    generator = torch.Generator().manual_seed(4)
    maps, rows = torch.randn(11, 3, 5, 4, generator=generator), torch.randn(2, 11, generator=generator)
    maps[3] = 0.7  # a constant one
    found = saliency_tubes(Planted(maps, rows), FLAT, 1, threshold=threshold)
    np.testing.assert_allclose(found.numpy(), slow_tube(maps, rows[1], (8, 16, 16), threshold), atol=1e-5)


def test_the_threshold_leaves_out_weak_channels_and_above_one_all() -> None:
    maps = peak(2, 4, 7, 7, at=(0, 0, 0, 0)) + peak(2, 4, 7, 7, at=(1, 3, 6, 6))
    model = Planted(maps, torch.tensor([[1.0, 0.2], [0.2, 1.0]]))
    both, one = (saliency_tubes(model, FLAT, 0, threshold=t) for t in (0.0, 0.5))
    assert both[0, 0, 0] == both[-1, -1, -1] == 1  # channels count alike, whatever their weight
    assert one[0, 0, 0] == 1
    assert one[-1, -1, -1] < 1e-6
    for style in ("tube", "cam"):
        assert not saliency_tubes(model, FLAT, 0, threshold=1.01, style=style).any()
    assert not saliency_tubes(Planted(torch.full((3, 2, 4, 4), 0.3), torch.randn(2, 3)), FLAT, 0).any()


@pytest.mark.parametrize("factor", [1e-6, 0.25, 3.0, 1e6])
def test_a_positive_factor_on_the_weights_changes_nothing(factor: float) -> None:
    maps, weights = torch.randn(9, 2, 5, 5), torch.randn(9)
    for threshold in (0.0, 0.4):
        expected = tube_of(maps, weights, (8, 16, 16), threshold=threshold)
        torch.testing.assert_close(tube_of(maps, factor * weights, (8, 16, 16), threshold=threshold), expected,
                                   atol=1e-5, rtol=0)  # fmt: skip


def test_a_cam_is_linear_before_it_is_scaled_and_its_mean_is_the_logit() -> None:
    maps, a, b = torch.randn(9, 2, 5, 5), torch.randn(9), torch.randn(9)
    torch.testing.assert_close(
        class_activation(maps, 2 * a - 3 * b), 2 * class_activation(maps, a) - 3 * class_activation(maps, b)
    )
    for name in ("r3d_34", "tsn_r18", "slowfast_50", "srtg_r3d_34"):
        model, x = zoo(name), clip()
        with torch.no_grad():
            logit = model(x)[0, 2] - model.classifier.bias[2]
        torch.testing.assert_close(class_activation(*class_features(model, x, 2)).mean(), logit, rtol=1e-4, atol=1e-5)


def test_a_cam_is_scipys_zoom_of_the_weighted_sum() -> None:
    maps, rows = torch.randn(5, 3, 4, 6), torch.randn(2, 5)
    slow = scipy.ndimage.zoom(np.einsum("cthw,c->thw", maps.numpy(), rows[0].numpy()), (8 / 3, 4, 16 / 6), order=3,
                              mode="mirror")  # fmt: skip
    slow = (slow - slow.min()) / (slow.max() - slow.min())
    found = saliency_tubes(Planted(maps, rows), FLAT, 0, style="cam")
    np.testing.assert_allclose(found.numpy(), slow, atol=1e-5)


def test_the_constant_channel_stays_zero() -> None:
    z = normalised(torch.stack([torch.full((2, 2, 2), 5.0), torch.arange(8.0).view(2, 2, 2)]))
    assert not z[0].any()
    assert z[1].flatten()[[0, -1]].tolist() == [0, 1]


@pytest.mark.parametrize("name", families())
def test_every_network_shows_it_or_says_why_not(name: str) -> None:
    model, x = zoo(name), clip()
    with torch.no_grad():
        logits = model(x)
    with left_as_it_was(model):
        for style in ("tube", "cam"):
            try:
                found = saliency_tubes(model, x, 3, style=style)
            except KinemaError as error:
                assert name == "lstm_head", error
                assert "gradcam" in str(error)
                continue
            assert found.shape == x.shape[2:]
            assert found.isfinite().all()
            assert found.max() == 1
            assert found.min() == 0
    with torch.no_grad():
        assert torch.equal(model(x), logits)


@pytest.mark.parametrize("name", ["r3d_34", "stm_r18", "slowfast_50", "x3d_s", "lstm_head", "attention_head", "cidc"])
def test_class_regularisation_gives_weights_at_every_stage_that_it_regularises(name: str) -> None:
    strengths = (0.9, 0.8, 0.7, 0.6, 0.5)[: 5 if name in ("attention_head", "cidc") else 4]
    model, x = zoo(name, class_regularisation=strengths), clip(16)
    for stage in model.feature_maps[1:]:
        _, weights = class_features(model, x, 2, stage)
        module = model.class_regularisation[stage]
        last = "attention" if name == "attention_head" else "cidc"
        if stage != model.feature_maps[-1] and stage + last not in ("layer4attention", "layer4cidc"):
            expected = (module.weight @ model.classifier.weight[2]).relu()
            torch.testing.assert_close(weights, expected.detach())
        for style in ("tube", "cam"):
            assert saliency_tubes(model, x, 2, layer=stage, style=style).shape == x.shape[2:]
    with pytest.raises(KinemaError, match="layer stem has no class weights: choose from"):
        saliency_tubes(model, x, 2, layer="stem")


def test_two_pathways_are_parts_of_the_joined_stage() -> None:
    model, x = zoo("slowfast_50", class_regularisation=(0.9, 0.8, 0.7, 0.6)), clip(16)
    for stage in ("layer2", "layer4"):
        joined = class_activation(*class_features(model, x, 1, stage))
        slow = class_activation(*class_features(model, x, 1, f"slow.{stage}"))
        fast = class_activation(*class_features(model, x, 1, f"fast.{stage}"))
        alpha = len(fast) // len(slow)
        assert alpha == (1 if stage == "layer4" else 4)
        together = slow + fast.view(len(slow), alpha, *fast.shape[1:]).sum(1)
        torch.testing.assert_close(joined, together, rtol=1e-4, atol=1e-5)


def test_two_stages_before_the_classifier_share_its_row() -> None:
    """The mean over both parts is the logit."""
    x = clip()
    for name, options in (
        ("attention_head", {}), ("cidc", {"fusion": "sum"}), ("cidc", {"fusion": "channels"}), ("cidc", {}),
    ):  # fmt: skip
        model = zoo(name, **options)
        parts = [class_activation(*class_features(model, x, 1, s)).mean() for s in model.feature_maps[-2:]]
        if name == "cidc":  # both directions stand beside one another, each with half of the steps
            parts[1] = parts[1] / 2
        total = sum(parts) / (2 if options == {} and name == "cidc" else 1)
        with torch.no_grad():
            logit = model(x)[0, 1] - model.classifier.bias[1]
        torch.testing.assert_close(total, logit, rtol=1e-4, atol=1e-5)


def test_the_second_direction_of_cidc_is_turned_round() -> None:
    """It runs through the reversed clip: what it gives in its last step belongs to the beginning of the clip."""
    model = zoo("cidc")
    a, b = model.cidc.units["layer4"][0].conv.steps
    seen: list[Tensor] = []
    model.get_submodule("cidc").register_forward_hook(lambda m, args, out: seen.append(out[0]))
    maps, weights = class_features(model, clip(), 0)
    assert torch.equal(maps, torch.cat([seen[0][:, :a], seen[0][:, a:].flip(1)]))
    assert a == b
    assert torch.equal(weights[: len(weights) // 2], weights[len(weights) // 2 :])


@pytest.mark.parametrize(("name", "blind"), [("tsn_r18", True), ("stm_r18", False)])
def test_the_time_reversed_clip(name: str, blind: bool) -> None:
    model, x = zoo(name), clip()
    for module in model.modules():
        if hasattr(module, "t") and isinstance(getattr(module, "t", None), nn.Module):
            nn.init.normal_(module.t.weight)
    for style in ("tube", "cam"):
        there, back = (saliency_tubes(model, y, 1, style=style) for y in (x, x.flip(2)))
        differ = float((there - back.flip(0)).abs().max())
        assert differ < 1e-5 if blind else differ > 1e-2


@pytest.mark.parametrize("style", ["tube", "cam"])
def test_whatever_surrounds_it(style: Any) -> None:
    """Train mode, contexts, checkpoints and halves: the map of a plain network in evaluation."""
    x = clip()
    expected = saliency_tubes(Own().eval(), x, 1, style=style)
    for model in (Own().train(), Own(inside=checkpointed).train(), Own().requires_grad_(False)):
        with left_as_it_was(model):
            assert torch.equal(saliency_tubes(model, x, 1, style=style), expected)
            assert torch.equal(saliency_tubes(model, x[0], 1, style=style), expected)
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            assert torch.equal(saliency_tubes(Own(), x, 1, style=style), expected)
    half = saliency_tubes(Own().bfloat16(), x, 1, style=style)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, atol=0.1, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(saliency_tubes(Own(), x, 1, style=style), expected, atol=0.1, rtol=0)
    torch.testing.assert_close(saliency_tubes(Own().double(), x, 1, style=style), expected, atol=1e-4, rtol=0)


class Hidden(Own):
    """Between its last stage and its classifier stands a layer that nothing names."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.classifier = nn.Linear(8, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.hidden(self.second(self.first(x)).mean((2, 3, 4))).relu())


class NoClassifier(Own):
    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Sequential(nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("model", "arguments", "sentence"),
    [
        (Own(), {"target": 3}, "target is 3: .* from 0 to 2"),
        (Own(), {"target": -1}, "target is -1"),
        (Own(), {"target": True}, "target is True"),
        (Own(), {"target": 0, "style": "tubes"}, "unknown style 'tubes': did you mean 'tube'"),
        (Own(), {"target": 0, "threshold": -0.1}, "threshold is -0.1"),
        (Own(), {"target": 0, "threshold": float("nan")}, "threshold is nan"),
        (
            Own(),
            {"target": 0, "layer": "first"},
            "layer first has no class weights: choose from second, or use gradcam",
        ),
        (Own(), {"target": 0, "layer": "scond"}, "did you mean 'second'"),
        (Own(), {"target": 0, "clip": torch.zeros(2, 3, 4, 8, 8)}, "clip contains 2 clips"),
        (Own(), {"target": 0, "clip": torch.full((3, 4, 8, 8), float("inf"))}, "layer second has .* not finite"),
        (Hidden(), {"target": 0}, "layer second has 8 channels, but the classifier has 5 inputs: use gradcam"),
        (NoClassifier(), {"target": 0}, "NoClassifier has a classifier of type Sequential"),
        (zoo("r3d_34", num_classes=2).requires_grad_(False), {"target": 0, "layer": "layer2"}, "choose from layer4"),
        (zoo("slowfast_50"), {"target": 0, "layer": "fast.layer2"}, r"choose from slow\.layer4, fast\.layer4"),
        (zoo("lstm_head"), {"target": 0}, "LSTM.* gradcam"),
        (zoo("cidc", head="flatten"), {"target": 0}, "does not read the channels .* use gradcam"),
    ],
)
def test_what_is_refused(model: nn.Module, arguments: dict[str, Any], sentence: str) -> None:
    given = {"clip": clip(), **arguments}
    with left_as_it_was(model), pytest.raises(KinemaError, match=sentence):
        saliency_tubes(model, given.pop("clip"), given.pop("target"), **given)
