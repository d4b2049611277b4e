"""Explanations of networks in use: compiled, wrapped, in training, in several threads, with outputs of other kinds."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from explain.networks import Own, clip, left_as_it_was, zoo
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kinema.errors import KinemaError
from kinema.explain import explain, frame_values, grad_cam, saliency_tubes
from kinema.explain.activations import record, score_gradients

FUNCTIONS: list[Callable[..., Any]] = [saliency_tubes, grad_cam, frame_values]
METHODS = ("tube", "cam", "gradcam", "frames")


@pytest.mark.parametrize("name", ["x3d_s", "mtnet_s", "r3d_34", "cidc", "slowfast_50"])
def test_a_network_in_training_keeps_its_statistics(name: str) -> None:
    """A head that is applied at every position has a BatchNorm; in training it would take part."""
    model, x = zoo(name), clip()
    expected = [saliency_tubes(model, x, 1, style=style) for style in ("tube", "cam")]
    model.train()
    with left_as_it_was(model):
        found = [saliency_tubes(model, x, 1, style=style) for style in ("tube", "cam")]
        explain(model, x, "cam", "top3")
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_weights_that_are_computed_are_those_of_evaluation() -> None:
    model, x = Own(), clip()
    nn.utils.parametrizations.weight_norm(model.shared)
    nn.utils.parametrizations.spectral_norm(model.classifier, n_power_iterations=1)
    model.eval()
    expected = saliency_tubes(model, x, 1, style="cam")
    model.train()
    with left_as_it_was(model):
        assert torch.equal(saliency_tubes(model, x, 1, style="cam"), expected)
        grad_cam(model, x, 1)
        frame_values(model, x[:, :, :3], 1)


def test_threads_that_share_a_network_see_their_own_clips() -> None:
    model, clips = Own().eval(), [clip(seed=seed) for seed in range(4)]
    expected = [record(model, x, ["first", "second"])[1] for x in clips]

    def wrong(number: int) -> int:
        found = [record(model, clips[number], ["first", "second"])[1] for _ in range(40)]
        return sum(not torch.equal(maps[key], expected[number][key]) for maps in found for key in maps)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(wrong, range(4))) == [0] * 4


@pytest.mark.parametrize("where", ["network", "stage", "replaced stage"])
def test_compiled_networks(where: str) -> None:
    """Code that was compiled before skips hooks that come later."""
    x, model = clip(4), Own().eval()
    if where == "replaced stage":
        model.second = torch.compile(model.second, backend="eager")
    else:
        (model if where == "network" else model.second).compile(backend="eager")
    with torch.no_grad():
        model(x)
    torch.testing.assert_close(saliency_tubes(model, x, 1), saliency_tubes(Own(), x, 1), atol=1e-5, rtol=0)
    inner = "second._orig_mod.0" if where == "replaced stage" else "second.0"
    for layer, plain in (("second", "second"), (inner, "second.0")):
        expected = grad_cam(Own(), x, 1, layer=plain)
        torch.testing.assert_close(grad_cam(model, x, 1, layer=layer), expected, atol=1e-5, rtol=0)


class CheckpointedFirst(Own):
    """Its first stage is a checkpoint of the older kind, which has no gradients inside."""

    def forward(self, x: Tensor) -> Tensor:
        x = checkpoint(self.first, x, use_reentrant=True)
        return self.classifier(self.second(self.shared(x)).mean((2, 3, 4)))


class NotCheckpointed(Own):
    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.second(self.shared(self.first(x))).mean((2, 3, 4)))


def test_reentrant_checkpoints() -> None:
    x = clip(4)
    for layer in ("shared", "second"):  # after it nothing is lost
        expected = grad_cam(NotCheckpointed(), x, 1, layer=layer)
        torch.testing.assert_close(grad_cam(CheckpointedFirst(), x, 1, layer=layer), expected)
    within = Own(inside=lambda module, x: checkpoint(module, x, use_reentrant=True))
    for model, layer in ((CheckpointedFirst(), "first"), (within, "first"), (within, "second")):
        with left_as_it_was(model), pytest.raises(KinemaError, match="set use_reentrant=False"):
            grad_cam(model, x, 1, layer=layer)
        with left_as_it_was(model):
            assert record(model, x, [layer])[1][layer].isfinite().all()


@pytest.mark.parametrize("target", [np.int64(1), np.uint8(1), torch.tensor(1), torch.tensor([0.1, 0.7, 0.2]).argmax()])
def test_whole_numbers_of_any_kind_are_classes(target: Any) -> None:
    model, x = Own(), clip(3)
    for function in FUNCTIONS:
        found, expected = function(model, x, target), function(model, x, 1)
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)
    (named,) = explain(model, x, target=target)
    assert (named.target, type(named.target)) == (1, int)


@pytest.mark.parametrize(
    "target", [1.0, None, True, "1", torch.tensor(True), torch.tensor([1]), torch.tensor(1.0), np.float32(1), np.True_]
)
def test_what_is_no_class(target: Any) -> None:
    for function in FUNCTIONS:
        with pytest.raises(KinemaError, match="target is"):
            function(Own(), clip(3), target)
    with pytest.raises(KinemaError, match="target is"):
        explain(Own(), clip(3), target=target)


class WithDict(Own):
    def forward(self, x: Tensor) -> Any:
        return {"logits": super().forward(x)}


class WithTuple(Own):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x), x


class WithoutBatch(Own):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[0]


class PerFrame(Own):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, None].expand(-1, x.shape[2], -1)


class Overflowing(Own):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * float("inf")


class Masked(Own):
    """One class is ruled out, which is a score of 0."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).index_fill(1, torch.tensor([2]), -float("inf"))


@pytest.mark.parametrize("kind", [WithDict, WithTuple, WithoutBatch, PerFrame])
def test_outputs_that_are_no_logits(kind: type[Own]) -> None:
    for function in FUNCTIONS:
        model = kind()
        with left_as_it_was(model), pytest.raises(KinemaError, match=f"{kind.__name__} returns "):
            function(model, clip(3), 1)


def test_scores_that_are_no_numbers() -> None:
    nan = torch.full((1, 3, 4, 8, 8), float("nan"))
    for method in METHODS:
        with pytest.raises(KinemaError, match="not finite"):
            explain(Overflowing(), clip(3), method, 1)
        with pytest.raises(KinemaError, match="not finite"):
            explain(Own(), nan, method)
        (found,) = explain(Masked(), clip(3), method, 2)
        assert found.score == 0
    with pytest.raises(KinemaError, match="not finite"):
        frame_values(Own(), nan, 1)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.optim.swa_utils.AveragedModel])
def test_wrapped_networks(wrap: Callable[[nn.Module], nn.Module]) -> None:
    for function in FUNCTIONS:
        with pytest.raises(KinemaError, match=r"wrapped in (DataParallel|AveragedModel): give its \.module"):
            function(wrap(Own()), clip(3), 1)
    with pytest.raises(KinemaError, match=r"compiled.*give its \._orig_mod"):
        saliency_tubes(torch.compile(Own()), clip(3), 1)


class Holder(Own):
    """A network that calls one of its own parts `module`; it is not a wrapper."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Identity()


def test_a_part_may_be_called_module() -> None:
    assert torch.equal(saliency_tubes(Holder(), clip(3), 1), saliency_tubes(Own(), clip(3), 1))


@pytest.mark.parametrize("layer", [4, "", ("second",), b"second"])
def test_what_is_no_layer(layer: Any) -> None:
    for call in (
        lambda: saliency_tubes(Own(), clip(3), 1, layer=layer),
        lambda: grad_cam(Own(), clip(3), 1, layer=layer),
        lambda: explain(Own(), clip(3), "cam", layer=layer),
        lambda: score_gradients(Own(), clip(3), [layer], lambda logits: [0]),
    ):
        with pytest.raises(KinemaError, match="layer"):
            call()
