"""SlowFast: counts, both pathways in one tensor, invariants, a golden output."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.evaluation.cost import count
from kinema.models import create_model
from kinema.models.slowfast import SlowFast, join, part
from kinema.ops import NonLocal

NAMES = ["slowfast_50", "slowfast_101", "slowfast_nl_101"]
SMALL = {"num_classes": 5, "width": 0.0625}


def small(name: str = "slowfast_50", **options: object) -> SlowFast:
    """Float64, with BatchNorms that had a batch and non-local blocks that are switched on."""
    torch.manual_seed(0)
    model = create_model(name, **{**SMALL, **options}).double()
    for module in model.modules():
        if isinstance(module, NonLocal):
            nn.init.ones_(module.bn.weight)
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(clip(n=4, seed=9))
    return model.eval()


def clip(n: int = 2, t: int = 16, size: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, t, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- counts


# PyTorchVideo's model zoo at 256 pixels, 400 classes: G and M. Some of its figures count five operations for each
# output of a BatchNorm, others none.
@pytest.mark.parametrize(
    ("name", "options", "frames", "gmacs", "per_norm", "millions"),
    [
        ("slowfast_50", {}, 32, 65.71, 0, 34.57),
        ("slowfast_50", {"alpha": 8, "fusion_taps": 5}, 32, 36.69, 5, 34.48),
        ("slowfast_101", {}, 32, 127.20, 5, 62.83),
        ("slowfast_101", {"temporal_blocks": 6}, 64, 215.61, 5, 53.77),
    ],
)
def test_counts_of_the_public_zoo(
    name: str, options: dict, frames: int, gmacs: float, per_norm: int, millions: float
) -> None:
    cost = count(name, frames=frames, size=256, options=options)
    assert abs((cost.macs + per_norm * cost.normalised) / 1e9 - gmacs) <= 0.006
    assert abs(cost.params / 1e6 - millions) <= 0.006


# SlowFast's paper, at 256 pixels: G and, where it states them, M.
@pytest.mark.parametrize(
    ("name", "options", "frames", "gmacs", "millions"),
    [
        ("slowfast_50", {"alpha": 8, "fusion_taps": 5}, 32, 36.1, 34.4),
        ("slowfast_50", {}, 32, 65.7, 34.5),
        ("slowfast_101", {"temporal_blocks": 6}, 32, 106, 53.7),
        ("slowfast_101", {"temporal_blocks": 6}, 64, 213, 53.7),
        ("slowfast_nl_101", {}, 32, 116, 59.9),
        ("slowfast_nl_101", {}, 64, 234, 59.9),
    ],
)
def test_counts_of_the_paper(name: str, options: dict, frames: int, gmacs: float, millions: float) -> None:
    cost = count(name, frames=frames, size=256, options=options)
    assert abs(cost.macs / 1e9 / gmacs - 1) <= 0.01
    assert abs(cost.params / 1e6 / millions - 1) <= 0.004


# ---- both pathways in one tensor


@pytest.mark.parametrize("alpha", [1, 2, 4])
def test_joining_loses_nothing(alpha: int) -> None:
    slow, fast = torch.randn(2, 5, 3, 4, 4), torch.randn(2, 2, 3 * alpha, 4, 4)
    both = join(slow, fast)
    assert both.shape == (2, 5 + 2 * alpha, 3, 4, 4)
    assert both.is_contiguous(memory_format=torch.channels_last_3d)
    for t in range(3):
        for a in range(alpha):
            assert torch.equal(both[:, 5 + 2 * a : 7 + 2 * a, t], fast[:, :, alpha * t + a])
    again = part(both, 5, alpha)
    assert torch.equal(again[0], slow)
    assert torch.equal(again[1], fast)
    assert alpha == 1 or again[1].is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize(
    ("name", "alpha", "spread"),
    [("slowfast_50", 4, False), ("slowfast_50", 8, True), ("slowfast_nl_101", 4, False)],
)
def test_it_is_two_networks_side_by_side(name: str, alpha: int, spread: bool) -> None:
    model = small(name, alpha=alpha, slow_frames="spread" if spread else "strided")
    x = clip(t=32)
    chosen = [0, 10, 20, 31] if spread else list(range(0, 32, alpha))
    slow, fast = model.stem.slow(x[:, :, chosen]), model.stem.fast(x)
    for layer in ("layer1", "layer2", "layer3", "layer4"):
        stage = model.get_submodule(layer)
        fuse = stage.fuse
        conv = nn.functional.conv3d(
            fast, fuse.conv.weight, None, (alpha, 1, 1), (fuse.conv.weight.shape[2] // 2, 0, 0)
        )  # fmt: skip
        slow, fast = stage.slow(torch.cat([slow, fuse.bn(conv).relu()], 1)), stage.fast(fast)
    features = torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], 1)
    torch.testing.assert_close(model(x), model.classifier(features))
    assert features.std() > 0.01


def test_slow_frames_spread_as_pyslowfast_cuts_them() -> None:
    stem = create_model("slowfast_50", **SMALL, slow_frames="spread").stem
    assert stem._chosen(32) == [0, 4, 8, 13, 17, 22, 26, 31]
    assert stem._chosen(4) == [0]


def test_a_clip_of_another_length_is_completed_by_its_last_frame() -> None:
    model, x = small(), clip(t=13)
    completed = torch.cat([x, x[:, :, -1:], x[:, :, -1:], x[:, :, -1:]], 2)
    assert torch.equal(model(x), model(completed))
    assert model.forward_features(clip(t=1)).shape[2] == 1


def test_the_pathways_have_the_papers_shapes() -> None:
    model = create_model("slowfast_50", num_classes=5)
    assert model.stem.slow.conv.weight.shape == (64, 3, 1, 7, 7)
    assert model.stem.fast.conv.weight.shape == (8, 3, 5, 7, 7)
    for i, (layer, slow_taps) in enumerate(zip(("layer1", "layer2", "layer3", "layer4"), (1, 1, 3, 3), strict=True)):
        stage = model.get_submodule(layer)
        assert {block.conv1.weight.shape[2] for block in stage.slow} == {slow_taps}
        assert {block.conv1.weight.shape[2] for block in stage.fast} == {3}
        assert stage.slow[-1].conv3.weight.shape[0] == 8 * stage.fast[-1].conv3.weight.shape[0] == 256 * 2**i
        into = (8, 32, 64, 128)[i]
        assert stage.fuse.conv.weight.shape == (2 * into, into, 7, 1, 1)
    assert model.classifier.in_features == 2304
    model = create_model("slowfast_101", **SMALL, temporal_blocks=6)
    for stage in (model.layer3.slow, model.layer3.fast):
        assert [block.conv1.weight.shape[2] for block in stage] == [3] * 6 + [1] * 17
    model = create_model("slowfast_nl_101", **SMALL)
    found = [name for name, m in model.named_modules() if isinstance(m, NonLocal)]
    assert found == [f"layer3.slow.{i}.non_local" for i in (6, 13, 20)]


# ---- whole networks


@pytest.mark.parametrize("name", NAMES)
def test_what_the_networks_are_meant_for(name: str) -> None:
    spec = create_model(name, **SMALL).clip_spec
    assert (spec.frames, spec.stride) == (32, 2)


def test_class_regularisation_scales_both_pathways() -> None:
    model = create_model("slowfast_50", **SMALL, class_regularisation=(0.9, 0.8, 0.7, 0.6))
    x = model.stem(clip().float())
    plain, scaled = model.layer1(x), model.stage("layer1", x)
    changed = (plain != scaled).any(0).flatten(1).any(1)
    assert changed[:16].any()
    assert changed[16:].any()


def test_both_pathways_see_the_clip_and_its_order() -> None:
    model, x = small(), clip(t=32)
    between = x.clone()
    between[:, :, 1] += 1  # a frame that the slow pathway does not get
    stem, other = model.stem(x), model.stem(between)
    assert torch.equal(stem[:, :4], other[:, :4])
    assert not torch.equal(stem[:, 4:], other[:, 4:])
    assert (model(x.flip(2)) - model(x)).abs().max() > 1e-4


def test_the_pathways_export() -> None:
    model, x = small(), clip(t=13)
    first = nn.Sequential(model.stem, model.layer1)
    torch.testing.assert_close(torch.export.export(first, (x,)).module()(x), first(x))


def test_golden_output() -> None:
    """A fixed network on a fixed clip: what it gave when it was built and checked."""
    x = torch.cos(torch.arange(3 * 13 * 32 * 32, dtype=torch.float64) * 0.01).view(1, 3, 13, 32, 32)
    model = create_model("slowfast_50", num_classes=3, width=0.0625).double().eval()
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            values = torch.sin(torch.arange(p.numel(), dtype=torch.float64) * 0.7 + i).view(p.shape)
            p.copy_(values / p[0].numel() ** 0.5 if p.ndim > 1 else 0.6 + 0.3 * values)
        found = model(x)[0]
    torch.testing.assert_close(found, GOLDEN, rtol=1e-8, atol=1e-10)


GOLDEN = torch.tensor([1.01648991682, 0.124452291836, -0.429160706425], dtype=torch.float64)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"alpha": 0}, "alpha is 0: give "),
        ({"fusion_taps": 4}, "fusion_taps is 4: give "),
        ({"temporal_blocks": -1}, "temporal_blocks is -1: give "),
        ({"slow_frames": "stride"}, "unknown value of slow_frames 'stride': did you mean 'strided'"),
        ({"fusion_norm": "no"}, "fusion_norm is 'no': give "),
    ],
)
def test_bad_options_are_one_sentence(options: dict, says: str) -> None:
    with pytest.raises(KinemaError) as caught:
        create_model("slowfast_50", **options)
    assert str(caught.value).startswith(says)
