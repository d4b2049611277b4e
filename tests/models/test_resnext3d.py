"""3-D ResNeXt: counts, 3D-ResNets-PyTorch written out on its own names, invariants, a golden output."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.evaluation.cost import count
from kinema.models import create_model, list_models
from kinema.models.resnext3d import LAYERS
from kinema.models.video_model import VideoModel
from kinema.weights.importing import import_weights
from kinema.weights.names.resnext3d import candidates

SMALL = {"num_classes": 5, "frames": 4, "width": 0.0625, "groups": 4}


def small(seed: int = 0, **options: Any) -> VideoModel:
    torch.manual_seed(seed)
    return create_model("resnext3d_50", **{**SMALL, **options}).eval()


def clip(n: int = 2, t: int = 8, size: int = 48, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, t, size, size, generator=torch.Generator().manual_seed(seed))


def by_hand(depth: int) -> int:
    """The parameters, layer by layer."""
    total, channels = 3 * 64 * 7**3 + 2 * 64, 64
    for i, blocks in enumerate(LAYERS[depth]):
        inner, out = 128 * 2**i, 256 * 2**i
        total += channels * out + 2 * out
        for _ in range(blocks):
            total += channels * inner + inner * (inner // 32) * 27 + inner * out + 2 * (2 * inner + out)
            channels = out
    return total + channels * 400 + 400


@pytest.mark.parametrize(("depth", "own"), [(50, 26_685_264), (101, 48_340_816), (152, 66_178_896)])
def test_parameters(depth: int, own: int) -> None:
    assert count(f"resnext3d_{depth}", size=32).params == own == by_hand(depth)


def test_operations() -> None:
    """The thesis prints 76.96 GFLOP (table 7.1)."""
    cost = count("resnext3d_101")
    assert (cost.frames, cost.size) == (16, 224)
    assert abs(cost.macs / 1e9 - 38.0398) < 0.0001
    assert abs(cost.flops / 1e9 / 76.96 - 1) < 0.012


def release(depth: int, base: int = 64, groups: int = 32, classes: int = 400, device: str = "cpu") -> dict[str, Tensor]:
    """A state dict with the names and shapes of 3D-ResNets-PyTorch, shortcuts of type B."""
    generator = torch.Generator().manual_seed(3)
    made: dict[str, Tensor] = {}

    def random(*shape: int) -> Tensor:
        if device == "meta":
            return torch.empty(*shape, device="meta")
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def conv(name: str, o: int, i: int, k: int) -> None:
        made[f"{name}.weight"] = random(o, i, k, k, k) * (2 / (i * k**3)) ** 0.5

    def norm(name: str, n: int) -> None:
        made[f"{name}.weight"] = random(n) * 0.2 + 1
        made[f"{name}.bias"] = random(n) * 0.1
        made[f"{name}.running_mean"] = random(n) * 0.1
        made[f"{name}.running_var"] = random(n).abs() + 0.5
        made[f"{name}.num_batches_tracked"] = torch.tensor(1, device=device)

    conv("conv1", base, 3, 7)
    norm("bn1", base)
    channels = base
    for i, blocks in enumerate(LAYERS[depth]):
        inner, out = base * 2 * 2**i, base * 4 * 2**i
        for j in range(blocks):
            at = f"layer{i + 1}.{j}"
            for k, o, c, kernel in ((1, inner, channels, 1), (2, inner, inner // groups, 3), (3, out, inner, 1)):
                conv(f"{at}.conv{k}", o, c, kernel)
                norm(f"{at}.bn{k}", o)
            if j == 0:
                conv(f"{at}.downsample.0", out, channels, 1)
                norm(f"{at}.downsample.1", out)
            channels = out
    made["fc.weight"] = random(classes, channels) / math.sqrt(channels)
    made["fc.bias"] = random(classes)
    return made


def logits(r: dict[str, Tensor], depth: int, groups: int, x: Tensor) -> Tensor:
    """What 3D-ResNets-PyTorch computes, in evaluation."""

    def bn(name: str, x: Tensor) -> Tensor:
        return F.batch_norm(x, *(r[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")))

    x = F.max_pool3d(bn("bn1", F.conv3d(x, r["conv1.weight"], None, (1, 2, 2), 3)).relu(), 3, 2, 1)
    for i, blocks in enumerate(LAYERS[depth]):
        for j in range(blocks):
            at, stride = f"layer{i + 1}.{j}", 2 if i > 0 and j == 0 else 1
            y = bn(f"{at}.bn1", F.conv3d(x, r[f"{at}.conv1.weight"])).relu()
            y = bn(f"{at}.bn2", F.conv3d(y, r[f"{at}.conv2.weight"], None, stride, 1, 1, groups)).relu()
            y = bn(f"{at}.bn3", F.conv3d(y, r[f"{at}.conv3.weight"]))
            if j == 0:
                x = bn(f"{at}.downsample.1", F.conv3d(x, r[f"{at}.downsample.0.weight"], None, stride))
            x = (x + y).relu()
    return F.linear(x.mean((2, 3, 4)), r["fc.weight"], r["fc.bias"])


def test_it_computes_what_3d_resnets_pytorch_does() -> None:
    source = release(50, base=4, groups=4, classes=7)
    model = create_model("resnext3d_50", num_classes=7, width=0.0625, groups=4).double().eval()
    report = import_weights(model, {f"module.{k}": v for k, v in source.items()})
    assert report.complete and report.classifier
    x = clip(t=9, size=40).double()
    torch.testing.assert_close(model(x), logits(source, 50, 4, x))
    torch.testing.assert_close(model(x[:, :, :1, :33]), logits(source, 50, 4, x[:, :, :1, :33]))


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_releases_fit_name_by_name_and_shape_by_shape(depth: int) -> None:
    with torch.device("meta"):
        own = create_model(f"resnext3d_{depth}").state_dict()
    source = release(depth, device="meta")
    assert {candidates(f"module.{k}")[0]: v.shape for k, v in source.items()} == {k: v.shape for k, v in own.items()}
    assert source["layer4.2.conv2.weight"].shape == (1024, 32, 3, 3, 3)
    assert all(candidates(key) == [key] for key in own)


def test_groups_see_their_own_channels_only() -> None:
    model = small()
    assert sorted(list_models("resnext3d_*")) == ["resnext3d_101", "resnext3d_152", "resnext3d_50"]
    conv = model.layer2[1].conv2
    assert conv.groups == 4 and conv.in_channels == 16
    x = torch.randn(1, 16, 2, 4, 4)
    changed = x.clone()
    changed[:, 4:8] += 1
    moved = (conv(changed) - conv(x)).abs().amax((0, 2, 3, 4)) > 0
    assert moved.tolist() == [4 <= i < 8 for i in range(16)]
    grouped = [m for m in model.modules() if isinstance(m, nn.Conv3d) and m.groups > 1]
    assert len(grouped) == 16 and all(m.kernel_size == (3, 3, 3) for m in grouped)


@pytest.mark.parametrize(("width", "groups"), [(0.02, 32), (0.1, 3), (1.5, 8), (0.25, 32)])
def test_any_width_fits_any_groups(width: float, groups: int) -> None:
    with torch.device("meta"):
        model = create_model("resnext3d_50", width=width, groups=groups).eval()
        assert model(torch.empty(1, 3, 4, 32, 32)).shape == (1, 400)


def test_golden_output() -> None:
    """A fixed network on a fixed clip: what it gave when it was built and checked."""
    model = small()
    for i, p in enumerate(model.parameters()):
        with torch.no_grad():
            wave = torch.sin(torch.arange(p.numel(), dtype=torch.float64) * 0.7 + i).view(p.shape)
            p.copy_(wave * 0.3 + (p.ndim == 1))
    x = torch.cos(torch.arange(3 * 4 * 32 * 32, dtype=torch.float64) * 0.01).view(1, 3, 4, 32, 32)
    with torch.no_grad():
        found = model.double()(x)[0]
    torch.testing.assert_close(found, torch.tensor(GOLDEN, dtype=torch.float64), rtol=1e-6, atol=0)


GOLDEN = [-18747.6175, -2810.42610, 19112.4245, 344.129659, -19155.2064]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"groups": 0}, "groups is 0: give "),
        ({"groups": 2.5}, "groups is 2.5"),
        ({"group": 2}, "did you mean 'groups'"),
        ({"depth": 50}, "unknown option of resnext3d_50 'depth'"),
    ],
)
def test_bad_options_are_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(KinemaError, match=sentence):
        create_model("resnext3d_50", **options)
