"""Maps of inner layers: the right ones, bit-equal logits, and a network that is left as it was."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from explain.networks import Own, checkpointed, clip, families, left_as_it_was, zoo
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.explain.activations import record, score_gradients
from kinema.explain.layers import exposed_layers


@pytest.mark.parametrize("name", families())
def test_every_network_gives_its_layers_and_the_same_logits(name: str) -> None:
    model, x = zoo(name), clip()
    layers = exposed_layers(model)
    with torch.no_grad():
        expected, maps = model(x), {}
        _, intermediates = model.forward_intermediates(x)
    for stage, found in intermediates.items():
        if isinstance(found, tuple):
            maps |= {f"{pathway}.{stage}": y for pathway, y in zip(("slow", "fast"), found, strict=True)}
        else:
            maps[stage] = found
    assert layers == tuple(maps)
    with left_as_it_was(model):
        logits, recorded = record(model, x, layers)
    assert torch.equal(logits, expected)
    assert tuple(recorded) == layers
    for layer, found in recorded.items():
        assert torch.equal(found, maps[layer]), layer
        assert not found.requires_grad


def test_after_class_regularisation_not_before() -> None:
    model, x = zoo("r3d_34", class_regularisation=(0.5, 0.5, 0.5, 0.5)), clip()
    with torch.no_grad():
        _, expected = model.forward_intermediates(x, ["layer2"])
    _, maps = record(model, x, ["layer2"])
    assert torch.equal(maps["layer2"], expected["layer2"])
    _, inner = record(model, x, ["layer2.0"])
    assert inner["layer2.0"].shape == expected["layer2"].shape


@pytest.mark.parametrize("grad", [False, True])
def test_a_layer_that_is_overwritten_and_a_module_that_runs_twice(grad: bool) -> None:
    model, x = Own().eval(), clip()
    with torch.no_grad():
        first = model.first(x)
        shared = model.shared(model.shared(first.relu()))
        expected = model(x)
    with left_as_it_was(model):
        logits, maps = record(model, x, ["first", "shared"], grad=grad)
    assert torch.equal(logits, expected)
    assert (first < 0).any()
    assert torch.equal(maps["first"], first)
    assert torch.equal(maps["shared"], shared)


def test_only_what_is_overwritten_costs_a_second_run() -> None:
    model, runs = Own().eval(), []
    model.register_forward_pre_hook(lambda m, args: runs.append(1))
    record(model, clip(), ["second"])
    assert len(runs) == 1
    record(model, clip(), ["first"])
    assert len(runs) == 3


def test_gradients_are_those_at_the_layer_not_after_what_overwrites_it() -> None:
    model, x = Own().eval().double(), clip().double()
    _, maps, gradients = score_gradients(model, x, ["first"], lambda logits: [2, 0])
    y = maps["first"].clone().requires_grad_()
    for target in (2, 0):
        z = model.second(model.shared(model.shared(y.relu())))
        (expected,) = torch.autograd.grad(model.classifier(z.mean((2, 3, 4)))[0, target], y)
        torch.testing.assert_close(gradients[target]["first"], expected)
    assert all(p.grad is None for p in model.parameters())
    logits, graph = record(model, x, ["second"], grad=True)
    (found,) = torch.autograd.grad(logits[0, 1], graph["second"])
    rows = model.classifier.weight[1, :, None, None, None] / found[0, 0].numel()
    torch.testing.assert_close(found[0], rows.expand_as(found[0]))


@pytest.mark.parametrize("mode", ["no_grad", "inference_mode", "frozen", "checkpointed", "train", "autocast"])
def test_gradients_whatever_surrounds_them(mode: str) -> None:
    """Each of these gives what a plain network in evaluation gives."""
    x = clip()
    _, _, expected = score_gradients(Own().eval(), x, ["first", "second"], lambda logits: [1])
    model = Own(inside=checkpointed) if mode == "checkpointed" else Own()
    model.train()
    model.first.eval()
    if mode == "frozen":
        model.requires_grad_(False)
    context: Any = {
        "no_grad": torch.no_grad,
        "inference_mode": torch.inference_mode,
        "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    }.get(mode, torch.enable_grad)
    with context(), left_as_it_was(model):
        if mode == "inference_mode":
            x = x.clone()  # a tensor of inference mode
        _, _, found = score_gradients(model, x, ["first", "second"], lambda logits: [1])
    tolerance = {"rtol": 0.1, "atol": 2e-3} if mode == "autocast" else {}
    for layer in ("first", "second"):
        torch.testing.assert_close(found[1][layer].float(), expected[1][layer], **tolerance)


def test_checkpointed_stages_of_the_zoo_in_training() -> None:
    model, x = zoo("stm_r18"), clip()
    _, _, expected = score_gradients(model, x, ["layer3"], lambda logits: [0])
    model.set_grad_checkpointing(True)
    model.train()
    with left_as_it_was(model):
        _, _, found = score_gradients(model, x, ["layer3"], lambda logits: [0])
        logits, maps = record(model, x, ["layer3"], grad=True)
        (again,) = torch.autograd.grad(logits[0, 0], maps["layer3"])
    torch.testing.assert_close(found[0]["layer3"], expected[0]["layer3"])
    torch.testing.assert_close(again, expected[0]["layer3"])


def test_half_precision_and_autocast() -> None:
    x = clip()
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        model = Own().eval().to(dtype)
        with torch.no_grad():
            expected = model(x.to(dtype))
        logits, maps = record(model, x, ["second"])  # brought to the dtype of the network
        assert torch.equal(logits, expected)
        assert maps["second"].dtype == dtype
    model = zoo("r3d_34")
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            expected = model(x)
        assert torch.equal(record(model, x, ["layer4"])[0], expected)


def test_gradients_of_a_pathway_are_a_part_of_those_of_the_joined_stage() -> None:
    model, x = zoo("slowfast_50"), clip(16)
    layers = ["layer3", "slow.layer3", "fast.layer3"]
    _, maps, gradients = score_gradients(model, x, layers, lambda logits: [2])
    assert gradients[2]["fast.layer3"].shape == maps["fast.layer3"].shape
    slow, fast = model.pathways("layer3", gradients[2]["layer3"])
    assert torch.equal(gradients[2]["slow.layer3"], slow)
    assert torch.equal(gradients[2]["fast.layer3"], fast)


def test_networks_that_stand_on_two_pathways_have_both() -> None:
    model = zoo("attention_head", backbone="slowfast_50")
    assert exposed_layers(model)[-3:] == ("slow.layer4", "fast.layer4", "attention")
    _, maps = record(model, clip(16), exposed_layers(model))
    assert maps["fast.layer1"].shape[2] == 4 * maps["slow.layer1"].shape[2]


class Failing(Own):
    def forward(self, x: Tensor) -> Tensor:
        torch.rand(3)
        super().forward(x)
        raise RuntimeError("out of memory")


@pytest.mark.parametrize("grad", [False, True])
def test_after_an_error_nothing_stays(grad: bool) -> None:
    model = Failing().train()
    with left_as_it_was(model), pytest.raises(RuntimeError, match="out of memory"):
        record(model, clip(), ["first", "second"], grad=grad)


def test_memory_goes_with_the_result() -> None:
    model, seen = Own().eval(), []
    model.second.register_forward_hook(lambda m, args, out: seen.append(weakref.ref(out)))
    _, maps = record(model, clip(), ["second"])
    assert seen[0]() is maps["second"]
    del maps
    gc.collect()
    assert seen[0]() is None


def test_memory_goes_after_an_error_too() -> None:
    model, seen = Failing().eval(), []
    model.second.register_forward_hook(lambda m, args, out: seen.append(weakref.ref(out)))
    for grad in (False, True):
        with pytest.raises(RuntimeError, match="out of memory"):
            record(model, clip(), ["first", "second"], grad=grad)
    gc.collect()
    assert [one() for one in seen] == [None, None]


class Drawing(Own):
    """Asks the random generator in evaluation, too."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + torch.rand_like(x))


def test_a_network_that_draws_numbers_gets_the_same_ones_in_the_second_run() -> None:
    model, x = Drawing().eval(), clip()
    torch.manual_seed(11)
    with torch.no_grad():
        expected = model(x)
    torch.manual_seed(11)
    with left_as_it_was(model):
        assert torch.equal(record(model, x, ["first"])[0], expected)


class Nested(nn.Module):
    """Stages inside a Sequential, the second of which overwrites what the first gives; names in a list."""

    feature_maps = ["body.0", "body.1"]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(3, 4, 3, padding=1), nn.Sequential(nn.ReLU(inplace=True), nn.Conv3d(4, 5, 3, 2, 1))
        )
        self.classifier = nn.utils.parametrizations.weight_norm(nn.Linear(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.body(x).amax((2, 3, 4)))


def test_nested_stages_and_another_persons_hooks() -> None:
    model, x = Nested().eval(), clip()
    model.body[0].register_forward_hook(lambda m, args, out: 2 * out)
    with torch.no_grad():
        first, expected = 2 * nn.functional.conv3d(x, model.body[0].weight, model.body[0].bias, 1, 1), model(x)
    with left_as_it_was(model):
        logits, maps = record(model, x, exposed_layers(model))
        _, _, gradients = score_gradients(model, x, ["body.0", "body.1"], lambda logits: [1])
    assert torch.equal(logits, expected)
    torch.testing.assert_close(maps["body.0"], first)
    assert (gradients[1]["body.0"][first < 0] == 0).all()
    assert gradients[1]["body.1"].count_nonzero() <= 5  # one per channel, where the maximum is


class NoMaps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(x.mean((2, 3, 4)))


class Odd(Own):
    feature_maps = ("first", "second", "flat", "unused", "pair")

    def __init__(self) -> None:
        super().__init__()
        self.flat, self.unused, self.pair = nn.Flatten(), nn.Identity(), Pair()

    def forward(self, x: Tensor) -> Tensor:
        self.flat(x)
        self.pair(x)
        return super().forward(x)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize(
    ("model", "layers", "sentence"),
    [
        (Own(), ["secnod"], "unknown layer 'secnod': did you mean 'second'"),
        (Own(), ["module.second"], r"unknown layer 'module\.second'.*second"),
        (Own(), ["second.7"], r"unknown layer 'second\.7'"),
        (Own(), [""], "unknown layer"),
        (Own(), "second", r"\['second'\]"),
        (Own(), ["classifier"], "layer classifier returns a tensor of shape"),
        (Own(), ["relu.x"], "unknown layer"),
        (Odd(), ["flat"], "layer flat returns a tensor of shape"),
        (Odd(), ["unused"], "layer unused"),
        (Odd(), ["pair"], "layer pair returns tuple"),
        (NoMaps(), ["classifier"], "NoMaps has no feature_maps"),
        (torch.compile(Own()), ["second"], r"compiled.* give its \._orig_mod"),
        (nn.DataParallel(Own()), ["second"], r"wrapped in DataParallel: give its \.module"),
        (zoo("slowfast_50"), ["slow.layer9"], "unknown layer 'slow.layer9'.*slow.layer4"),
        (zoo("r3d_34"), ["slow.layer4"], "unknown layer 'slow.layer4'.*layer4"),
    ],
)
def test_what_is_refused(model: nn.Module, layers: Any, sentence: str) -> None:
    with left_as_it_was(model), pytest.raises(KinemaError, match=sentence):
        record(model, clip(), layers)


@pytest.mark.parametrize(
    "wrong", [torch.zeros(3, 8, 32), torch.zeros(1, 3, 0, 8, 8), torch.zeros(1, 3, 8, 32, 32).byte(), "clip.mp4"]
)
def test_clips_that_are_refused(wrong: Any) -> None:
    with pytest.raises(KinemaError, match="clip has"):
        record(Own(), wrong, ["second"])
