"""Channel-separated networks: published counts, the releases written out on their own names, invariants, golden."""

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
from kinema.models.csn import LAYERS
from kinema.models.video_model import VideoModel
from kinema.weights.implied import implied_for
from kinema.weights.importing import import_weights
from kinema.weights.names.csn import candidates

NAMES = sorted(list_models("i[rp]_csn_*"))
SMALL = {"num_classes": 5, "frames": 4, "width": 0.0625}


def small(name: str, seed: int = 0, **options: Any) -> VideoModel:
    torch.manual_seed(seed)
    return create_model(name, **{**SMALL, **options}).eval()


def clip(n: int = 2, t: int = 8, size: int = 48, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, t, size, size, generator=torch.Generator().manual_seed(seed))


# M parameters without BatchNorm and G multiply-adds of a clip of 32 frames at 256, the test crop, as the paper and the
# authors' zoo print them (None: they print nothing), then ours, parameters with BatchNorm.
ZOO: list[tuple[str, float | None, float | None, int, float]] = [
    ("ir_csn_50", None, None, 13_131_152, 55.2599),
    ("ip_csn_50", None, None, 14_396_176, 62.2392),
    ("ir_csn_101", 22.1, 73.8, 22_213_776, 73.7541),
    ("ip_csn_101", 24.5, 83.0, 24_601_616, 83.0151),
    ("ir_csn_152", 29.6, 96.7, 29_703_568, 96.7132),
    ("ip_csn_152", 32.8, 108.8, 33_016_592, 108.7928),
]


@pytest.mark.parametrize(("name", "mparams", "gmacs", "own_params", "own_gmacs"), ZOO)
def test_counts(name: str, mparams: float | None, gmacs: float | None, own_params: int, own_gmacs: float) -> None:
    cost = count(name, size=256)
    assert cost.frames == 32
    assert cost.params == own_params
    assert abs(cost.macs / 1e9 - own_gmacs) < 0.0001
    if mparams and gmacs:
        with torch.device("meta"):
            norms = [m for m in create_model(name).modules() if isinstance(m, nn.BatchNorm3d)]
        without = own_params - sum(p.numel() for m in norms for p in m.parameters())
        assert abs(without / 1e6 - mparams) <= 0.05
        assert abs(cost.macs / 1e9 - gmacs) <= 0.05


def test_counts_of_pytorchvideo() -> None:
    """Its zoo says 22.21 M and 75.62 G for csn_r101; it counts five operations for each output of a BatchNorm."""
    cost = count("ir_csn_101", size=256)
    assert round(cost.params / 1e6, 2) == 22.21
    assert round((cost.macs + 5 * cost.normalised) / 1e9, 2) == 75.62


def test_what_the_networks_are_meant_for() -> None:
    assert sorted(f"{kind}_csn_{depth}" for kind in ("ir", "ip") for depth in (50, 101, 152)) == NAMES
    for name in NAMES:
        spec = create_model(name, width=0.02).clip_spec
        assert (spec.frames, spec.stride, spec.crop, spec.short_side) == (32, 2, 224, 256)


class Release(dict[str, Tensor]):
    """A state dict in the making, with what its BatchNorms compute."""

    def __init__(self, eps: float, device: str = "cpu") -> None:
        super().__init__()
        self.eps, self.device, self.generator = eps, device, torch.Generator().manual_seed(3)

    def random(self, *shape: int) -> Tensor:
        if self.device == "meta":
            return torch.empty(*shape, device="meta")
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def conv(self, name: str, o: int, i: int, *kernel: int) -> None:
        self[f"{name}.weight"] = self.random(o, i, *kernel) * (2 / (i * math.prod(kernel))) ** 0.5

    def norm(self, name: str, n: int) -> None:
        self[f"{name}.weight"] = self.random(n) * 0.2 + 1
        self[f"{name}.bias"] = self.random(n) * 0.1
        self[f"{name}.running_mean"] = self.random(n) * 0.1
        self[f"{name}.running_var"] = self.random(n).abs() * 0.01 + 0.001  # small, so that eps matters
        self[f"{name}.num_batches_tracked"] = torch.tensor(1, device=self.device)

    def linear(self, name: str, o: int, i: int) -> None:
        self[f"{name}.weight"] = self.random(o, i) / math.sqrt(i)
        self[f"{name}.bias"] = self.random(o)

    def bn(self, name: str, x: Tensor) -> Tensor:
        values = [self[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *values, eps=self.eps)


# Where the releases keep the parts of a network: stem, its BatchNorm, a block, its steps and their BatchNorms (the
# channel-wise one, what stands before it in ip-CSN, first and last), the shortcut, the classifier.
LAYOUTS: dict[str, dict[str, str]] = {
    "vmz ir": {
        "stem": "stem.0", "stem_norm": "stem.1", "block": "layer{s}.{i}", "a": "conv1.0", "a_norm": "conv1.1",
        "b": "conv2.0", "b_norm": "conv2.1", "c": "conv3.0", "c_norm": "conv3.1",
        "short": "downsample.0", "short_norm": "downsample.1", "fc": "fc",
    },
    "vmz ip": {
        "stem": "stem.0", "stem_norm": "stem.1", "block": "layer{s}.{i}", "a": "conv1.0", "a_norm": "conv1.1",
        "mix": "conv2.0.0", "mix_norm": "conv2.0.1", "b": "conv2.0.2", "b_norm": "conv2.1",
        "c": "conv3.0", "c_norm": "conv3.1", "short": "downsample.0", "short_norm": "downsample.1", "fc": "fc",
    },
    "mmaction2 ir": {
        "stem": "backbone.conv1.conv", "stem_norm": "backbone.conv1.bn", "block": "backbone.layer{s}.{i}",
        "a": "conv1.conv", "a_norm": "conv1.bn", "b": "conv2.0.conv", "b_norm": "conv2.0.bn",
        "c": "conv3.conv", "c_norm": "conv3.bn", "short": "downsample.conv", "short_norm": "downsample.bn",
        "fc": "cls_head.fc_cls",
    },
    "mmaction2 ip": {
        "stem": "backbone.conv1.conv", "stem_norm": "backbone.conv1.bn", "block": "backbone.layer{s}.{i}",
        "a": "conv1.conv", "a_norm": "conv1.bn", "mix": "conv2.0.conv", "mix_norm": "conv2.0.bn",
        "b": "conv2.1.conv", "b_norm": "conv2.1.bn", "c": "conv3.conv", "c_norm": "conv3.bn",
        "short": "downsample.conv", "short_norm": "downsample.bn", "fc": "cls_head.fc_cls",
    },
    "pytorchvideo ir": {
        "stem": "blocks.0.conv", "stem_norm": "blocks.0.norm", "block": "blocks.{s}.res_blocks.{i}",
        "a": "branch2.conv_a", "a_norm": "branch2.norm_a", "b": "branch2.conv_b", "b_norm": "branch2.norm_b",
        "c": "branch2.conv_c", "c_norm": "branch2.norm_c", "short": "branch1_conv", "short_norm": "branch1_norm",
        "fc": "blocks.5.proj",
    },
}  # fmt: skip


def build(layout: str, depth: int, base: int = 64, classes: int = 400, device: str = "cpu") -> Release:
    """A release's state dict."""
    at = LAYOUTS[layout]
    r = Release(1e-5 if layout.startswith("pytorchvideo") else 1e-3, device)
    r.conv(at["stem"], base, 3, 3, 7, 7)
    r.norm(at["stem_norm"], base)
    channels = base
    for s in range(4):
        inner, out = base * 2**s, base * 2**s * 4
        for i in range(LAYERS[depth][s]):
            block = at["block"].format(s=s + 1, i=i) + "."
            r.conv(block + at["a"], inner, channels, 1, 1, 1)
            r.norm(block + at["a_norm"], inner)
            if "mix" in at:
                r.conv(block + at["mix"], inner, inner, 1, 1, 1)
                r.norm(block + at["mix_norm"], inner)
            r.conv(block + at["b"], inner, 1, 3, 3, 3)
            r.norm(block + at["b_norm"], inner)
            r.conv(block + at["c"], out, inner, 1, 1, 1)
            r.norm(block + at["c_norm"], out)
            if i == 0:
                r.conv(block + at["short"], out, channels, 1, 1, 1)
                r.norm(block + at["short_norm"], out)
            channels = out
    r.linear(at["fc"], classes, channels)
    return r


def logits(r: Release, layout: str, depth: int, x: Tensor) -> Tensor:
    """What the release computes, in evaluation."""
    at = LAYOUTS[layout]
    x = r.bn(at["stem_norm"], F.conv3d(x, r[at["stem"] + ".weight"], None, (1, 2, 2), (1, 3, 3))).relu()
    x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for s in range(4):
        for i in range(LAYERS[depth][s]):
            block, stride = at["block"].format(s=s + 1, i=i) + ".", 2 if s > 0 and i == 0 else 1
            y = r.bn(block + at["a_norm"], F.conv3d(x, r[block + at["a"] + ".weight"])).relu()
            if "mix" in at:
                y = r.bn(block + at["mix_norm"], F.conv3d(y, r[block + at["mix"] + ".weight"]))
            y = F.conv3d(y, r[block + at["b"] + ".weight"], None, stride, 1, 1, y.shape[1])
            y = r.bn(block + at["b_norm"], y).relu()
            y = r.bn(block + at["c_norm"], F.conv3d(y, r[block + at["c"] + ".weight"]))
            if i == 0:
                x = r.bn(block + at["short_norm"], F.conv3d(x, r[block + at["short"] + ".weight"], None, stride))
            x = (x + y).relu()
    return F.linear(x.mean((2, 3, 4)), r[at["fc"] + ".weight"], r[at["fc"] + ".bias"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_computes_what_the_release_does(layout: str) -> None:
    release = build(layout, 50, base=4, classes=7)
    name = f"{layout.split()[1]}_csn_50"
    model = create_model(name, num_classes=7, width=0.0625, eps=release.eps).double().eval()
    report = import_weights(model, release)
    assert report.complete and report.classifier
    x = clip(t=9, size=40).double()
    torch.testing.assert_close(model(x), logits(release, layout, 50, x))
    torch.testing.assert_close(model(x[:, :, :1, :33]), logits(release, layout, 50, x[:, :, :1, :33]))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("depth", [50, 101, 152])
def test_releases_fit_name_by_name_and_shape_by_shape(layout: str, depth: int) -> None:
    release = build(layout, depth, device="meta")
    with torch.device("meta"):
        own = create_model(f"{layout.split()[1]}_csn_{depth}").state_dict()
    found: dict[str, torch.Size] = {}
    for name, value in release.items():
        target = next(c for c in candidates(f"module.{name}") if c in own)
        assert target not in found
        found[target] = value.shape
    assert found == {k: v.shape for k, v in own.items()}
    if layout == "vmz ip":
        assert {"layer3.5.conv2.0.2.weight", "layer1.0.downsample.1.running_var", "stem.1.bias"} <= set(release)


def test_own_names_stand_for_themselves() -> None:
    for name in ("ir_csn_50", "ip_csn_50"):
        with torch.device("meta"):
            own = create_model(name).state_dict()
        assert all(candidates(key) == [key] for key in own)


def test_what_a_file_of_the_other_kind_or_release_is_told() -> None:
    ir, ip = (create_model(f"{kind}_csn_50", num_classes=7, width=0.0625) for kind in ("ir", "ip"))
    report = import_weights(ir, build("vmz ip", 50, base=4))
    assert not report.missing and len(report.unused) == 16 * 6 and all(".conv2.0." in n for n in report.unused)
    report = import_weights(ip, build("vmz ir", 50, base=4))
    assert not report.unused and len(report.missing) == 16 * 5 and all(".mix." in n for n in report.missing)
    options = ir.architecture["options"]
    (remark,) = implied_for(ir, options, build("pytorchvideo ir", 50, device="meta")).differences(options)
    assert "eps=1e-05" in remark
    assert implied_for(ir, options, build("vmz ir", 50, device="meta")).differences(options) == []


@pytest.mark.parametrize("name", ["ir_csn_50", "ip_csn_50"])
def test_channels_meet_in_kernels_of_one_position_only(name: str) -> None:
    convs = [m for m in small(name).modules() if isinstance(m, nn.Conv3d)][1:]
    wide = [m for m in convs if m.kernel_size != (1, 1, 1)]
    assert len(wide) == 16 and all(m.groups == m.in_channels == m.out_channels for m in wide)
    assert all(m.groups == 1 for m in convs if m not in wide)
    assert len(convs) == 16 * (3 if name.startswith("ir") else 4) + 4


@pytest.mark.parametrize("name", ["ir_csn_50", "ip_csn_50"])
def test_golden_output(name: str) -> None:
    """A fixed network on a fixed clip: what it gave when it was built and checked."""
    model = small(name)
    for i, p in enumerate(model.parameters()):
        with torch.no_grad():
            wave = torch.sin(torch.arange(p.numel(), dtype=torch.float64) * 0.7 + i).view(p.shape)
            p.copy_(wave * 0.3 + (p.ndim == 1))
    x = torch.cos(torch.arange(3 * 4 * 32 * 32, dtype=torch.float64) * 0.01).view(1, 3, 4, 32, 32)
    with torch.no_grad():
        found = model.double()(x)[0]
    torch.testing.assert_close(found, torch.tensor(GOLDEN[name], dtype=torch.float64), rtol=1e-6, atol=0)


GOLDEN = {
    "ir_csn_50": [155.424039, -249.880780, -121.257343, 267.207842, 88.4080024],
    "ip_csn_50": [29.9124359, -9.39876000, -26.0835651, 15.3364942, 26.4199954],
}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"eps": 0.0}, "eps is 0.0: give "),
        ({"eps": "small"}, "eps is 'small'"),
        ({"epsi": 1e-3}, "did you mean 'eps'"),
        ({"depth": 50}, "unknown option of ir_csn_50 'depth'"),
    ],
)
def test_bad_options_are_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(KinemaError, match=sentence):
        create_model("ir_csn_50", **options)
