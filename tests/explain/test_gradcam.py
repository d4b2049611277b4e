"""Grad-CAM against captum where it is installed, against autograd written out, and on every network of the zoo."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
from explain.networks import Own, Planted, checkpointed, clip, families, left_as_it_was, zoo
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.explain.activations import score_gradients
from kinema.explain.gradcam import grad_cam, raw_grad_cam
from kinema.explain.interpolate import enlarge
from kinema.explain.tubes import saliency_tubes


def slow_grad_cam(model: nn.Module, x: Tensor, target: int, layer: str) -> np.ndarray:
    """The paper by finite differences: how the logit moves with the mean of each channel of the layer."""
    model, maps, shift = model.double().eval(), [], torch.zeros(1)

    def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        maps.append(output.detach())
        return output + shift.view(1, -1, 1, 1, 1)

    handle = model.get_submodule(layer).register_forward_hook(hook)
    with torch.no_grad():
        shift = torch.zeros(1, dtype=torch.float64)
        model(x.double())
        a, slopes = maps[0][0], []
        for channel in range(len(a)):
            found = []
            for step in (1e-5, -1e-5):
                shift = torch.zeros(len(a), dtype=torch.float64)
                shift[channel] = step
                found.append(float(model(x.double())[0, target]))
            slopes.append((found[0] - found[1]) / 2e-5 / a[0].numel())
    handle.remove()
    raw = np.maximum(np.einsum("c,cthw->thw", np.array(slopes), a.numpy()), 0)
    wide = scipy.ndimage.zoom(raw, [m / n for m, n in zip(x.shape[2:], raw.shape, strict=True)], order=3, mode="mirror")
    return np.maximum(wide, 0) / wide.max()


@pytest.mark.parametrize("layer", ["second", "shared"])
@pytest.mark.parametrize("target", [0, 2])
def test_equal_to_finite_differences(layer: str, target: int) -> None:
    x = clip(5, 12)
    model = Own().eval()
    model.shared = nn.Conv3d(6, 6, 3, padding=1)
    model.forward = lambda x: model.classifier(  # type: ignore[method-assign]  # smooth, and the module runs once
        model.second(model.shared(torch.tanh(model.first(x)))).tanh().mean((2, 3, 4))
    )
    expected = slow_grad_cam(model, x, target, layer)
    np.testing.assert_allclose(grad_cam(model, x, target, layer=layer).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["r3d_34", "tsn_r18", "x3d_s", "cidc", "slowfast_50"])
@pytest.mark.parametrize("stage", ["layer2", None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_to_captum(name: str, stage: str | None, dtype: torch.dtype) -> None:
    attr = pytest.importorskip("captum.attr")
    model, x = zoo(name).to(dtype), clip().to(dtype)
    layer = stage or model.feature_maps[-1]
    expected = attr.LayerGradCam(model, model.get_submodule(layer)).attribute(x, target=1, relu_attributions=True)
    _, maps, gradients = score_gradients(model, x, [layer], lambda logits: [1])
    found = raw_grad_cam(maps[layer], gradients[1][layer])
    expected = expected[0, 0].detach()
    assert expected.max() > 0
    # Relative to the largest value: a sum of channels of either sign that is nearly 0 has no digits of its own.
    torch.testing.assert_close(found / expected.max(), expected / expected.max(), rtol=0, atol=1e-6)
    wide = enlarge(found, tuple(x.shape[2:])).clamp_min(0)
    torch.testing.assert_close(grad_cam(model, x, 1, layer=layer), (wide / wide.amax()).float(), rtol=1e-4, atol=1e-5)


def test_on_the_last_stage_it_is_the_positive_part_of_the_cam() -> None:
    maps, rows = torch.randn(6, 3, 4, 4), torch.randn(3, 6)
    found = grad_cam(Planted(maps, rows), torch.zeros(3, 9, 13, 13), 1)
    positive = torch.einsum("cthw,c->thw", maps, rows[1]).relu()
    wide = enlarge(positive, (9, 13, 13)).clamp_min(0)
    torch.testing.assert_close(found, wide / wide.amax(), rtol=1e-4, atol=1e-5)
    assert found.max() == 1
    assert found.min() == 0


def test_nothing_that_raises_the_logit_is_zeros() -> None:
    model = Planted(torch.rand(2, 2, 4, 4), torch.tensor([[-1.0, -2.0], [1.0, 1.0]]))
    assert not grad_cam(model, clip(), 0).any()
    assert grad_cam(model, clip(), 1).max() == 1


@pytest.mark.parametrize("name", families())
def test_every_network_and_every_layer(name: str) -> None:
    model, x = zoo(name), clip()
    with torch.no_grad():
        logits = model(x)
    with left_as_it_was(model):
        for layer in (None, "layer2" if "slowfast" not in name else "fast.layer2"):
            found = grad_cam(model, x, 2, layer=layer)
            assert found.shape == x.shape[2:]
            assert found.isfinite().all()
            assert 0 <= found.min() <= found.max() <= 1
    with torch.no_grad():
        assert torch.equal(model(x), logits)


def test_whatever_surrounds_it() -> None:
    x = clip()
    expected = grad_cam(Own().eval(), x, 1, layer="first")
    for model in (Own().train(), Own(inside=checkpointed).train(), Own().requires_grad_(False)):
        with left_as_it_was(model):
            torch.testing.assert_close(grad_cam(model, x, 1, layer="first"), expected)
    model = Own()
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            torch.testing.assert_close(grad_cam(model, x, 1, layer="first"), expected)
    with torch.inference_mode():
        made_inside = Own()
    with pytest.raises(KinemaError, match=r"Own .* torch\.inference_mode"):
        grad_cam(made_inside, x, 1)
    half = grad_cam(Own().bfloat16(), x, 1, layer="first")
    torch.testing.assert_close(half, expected, atol=0.1, rtol=0)


def test_the_time_reversed_clip() -> None:
    x = clip()
    blind = zoo("tsn_r18")
    torch.testing.assert_close(grad_cam(blind, x, 1), grad_cam(blind, x.flip(2), 1).flip(0), atol=1e-5, rtol=0)
    for style in ("tube", "cam"):  # the other maps of the same network too
        there, back = (saliency_tubes(blind, y, 1, style=style) for y in (x, x.flip(2)))
        torch.testing.assert_close(there, back.flip(0), atol=1e-5, rtol=0)


class Detached(Own):
    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.second(self.first(x).detach()).mean((2, 3, 4)))


class WithoutGradients(Own):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(x)


@pytest.mark.parametrize(
    ("model", "arguments", "sentence"),
    [
        (Own(), {"target": 9}, "target is 9"),
        (Own(), {"target": 0, "layer": "frist"}, "did you mean 'first'"),
        (Own(), {"target": 0, "layer": "classifier"}, "layer classifier returns"),
        (Detached(), {"target": 0, "layer": "first"}, "no gradient reaches layer first"),
        (WithoutGradients(), {"target": 0}, "no gradient reaches layer second"),
        (Own(), {"target": 0, "clip": torch.zeros(2, 3, 4, 8, 8)}, "clip contains 2 clips"),
        (Own(), {"target": 0, "clip": torch.full((3, 4, 8, 8), float("nan"))}, "not finite"),
    ],
)
def test_what_is_refused(model: nn.Module, arguments: dict[str, Any], sentence: str) -> None:
    given = {"clip": clip(), **arguments}
    with left_as_it_was(model), pytest.raises(KinemaError, match=sentence):
        grad_cam(model, given.pop("clip"), given.pop("target"), **given)
