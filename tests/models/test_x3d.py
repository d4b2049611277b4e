"""X3D: counts of the official zoo, a release's network written out on its own names, invariants, a golden output."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.evaluation.cost import count
from kinema.models import create_model
from kinema.models.video_model import VideoModel
from kinema.models.x3d_blocks import multiple_of_8
from kinema.weights.implied import implied_for
from kinema.weights.names.x3d import candidates

SMALL = {"num_classes": 5, "frames": 4, "width": 0.25}


def small(seed: int = 0, **options: object) -> VideoModel:
    torch.manual_seed(seed)
    return create_model("x3d_s", **{**SMALL, **options}).eval()


def clip(n: int = 2, t: int = 4, size: int = 48, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, t, size, size, generator=torch.Generator().manual_seed(seed))


# (model, size, M parameters and G multiply-adds of the zoos of PyTorchVideo and SlowFast, as they print them, and ours)
ZOO = [
    ("x3d_s", None, 3.79, 1.96, 3_794_274, 1.9628),
    ("x3d_m", None, 3.79, 4.73, 3_794_274, 4.7325),
    ("x3d_l", None, 6.15, 18.37, 6_153_384, 18.3677),
    ("x3d_l", 356, 6.15, 24.8, 6_153_384, 24.7640),
]


@pytest.mark.parametrize(("name", "size", "mparams", "gmacs", "own_params", "own_gmacs"), ZOO)
def test_counts(name: str, size: int | None, mparams: float, gmacs: float, own_params: int, own_gmacs: float) -> None:
    cost = count(name, size=size)
    assert cost.params == own_params
    assert abs(cost.macs / 1e9 - own_gmacs) < 0.0001
    assert abs(cost.params / 1e6 / mparams - 1) <= 0.003
    assert abs(cost.macs / 1e9 / gmacs - 1) <= 0.003


def test_counts_of_xl() -> None:
    """The paper prints 11.0 M, 35.84 G at the crop of training and 48.4 G at that of testing."""
    trained, tested = count("x3d_xl"), count("x3d_xl", size=356)
    assert trained.params == tested.params == 11_095_840
    assert abs(trained.macs / 1e9 - 35.84) <= 0.005
    assert abs(tested.macs / 1e9 - 48.4) <= 0.05
    with torch.device("meta"):
        model = create_model("x3d_xl")
        stages = [getattr(model, f"layer{i}") for i in (1, 2, 3, 4)]
    assert [len(stage) for stage in stages] == [5, 10, 25, 15]
    assert [stage[0].conv_c.out_channels for stage in stages] == [32, 72, 136, 280]


def test_what_the_networks_are_meant_for() -> None:
    specs = [create_model(f"x3d_{size}", width=0.1).clip_spec for size in ("s", "m", "l", "xl")]
    sizes = [(s.frames, s.stride, s.crop) for s in specs]
    assert sizes == [(13, 6, 160), (16, 5, 224), (16, 5, 312), (16, 5, 312)]
    assert count("x3d_m", options={"shortcut_norm": True}).params == 3_794_274 + 48


# How SlowFast's names follow from PyTorchVideo's.
SLOWFAST = [
    (r"^blocks\.0\.conv\.conv_t\.", "s1.pathway0_stem.conv_xy."),
    (r"^blocks\.0\.conv\.conv_xy\.", "s1.pathway0_stem.conv."),
    (r"^blocks\.0\.norm\.", "s1.pathway0_stem.bn."),
    (r"^blocks\.5\.pool\.pre_conv\.", "head.conv_5."),
    (r"^blocks\.5\.pool\.pre_norm\.", "head.conv_5_bn."),
    (r"^blocks\.5\.pool\.post_conv\.", "head.lin_5."),
    (r"^blocks\.5\.proj\.", "head.projection."),
    (r"branch1_conv\.", "branch1."),
    (r"branch1_norm\.", "branch1_bn."),
    (r"norm_b\.1\.block\.0\.", "se.fc1."),
    (r"norm_b\.1\.block\.2\.", "se.fc2."),
    (r"norm_b\.0\.", "b_bn."),
    (r"branch2\.norm_([ac])\.", r"branch2.\1_bn."),
    (r"branch2\.conv_([abc])\.", r"branch2.\1."),
    *((rf"^blocks\.{k}\.res_blocks\.", f"s{k + 1}.pathway0_res") for k in (1, 2, 3, 4)),
]


class Release(dict[str, Tensor]):
    """A state dict with the names and shapes of PyTorchVideo's X3D, of depth 2.2."""

    def __init__(self, width: float = 1.0, device: str = "cpu") -> None:
        super().__init__()
        self.device, self.generator = device, torch.Generator().manual_seed(3)
        c = [round(n * width) for n in (24, 48, 96, 192)]
        self.conv("blocks.0.conv.conv_t", c[0], 3, 1, 3, 3)
        self.conv("blocks.0.conv.conv_xy", c[0], 1, 5, 1, 1)
        self.norm("blocks.0.norm", c[0])
        channels = c[0]
        for stage, depth in enumerate((3, 5, 11, 7)):
            out, inner = c[stage], int(2.25 * c[stage])
            for i in range(depth):
                at = f"blocks.{stage + 1}.res_blocks.{i}"
                if i == 0:
                    self.conv(f"{at}.branch1_conv", out, channels, 1, 1, 1)
                    if channels != out:
                        self.norm(f"{at}.branch1_norm", out)
                self.conv(f"{at}.branch2.conv_a", inner, channels, 1, 1, 1)
                self.norm(f"{at}.branch2.norm_a", inner)
                self.conv(f"{at}.branch2.conv_b", inner, 1, 3, 3, 3)
                self.norm(f"{at}.branch2.norm_b.0", inner)
                if i % 2 == 0:
                    squeezed = {54: 8, 108: 8, 216: 16, 432: 32}.get(inner, 8)
                    self.conv(f"{at}.branch2.norm_b.1.block.0", squeezed, inner, 1, 1, 1)
                    self[f"{at}.branch2.norm_b.1.block.0.bias"] = self.random(squeezed)
                    self.conv(f"{at}.branch2.norm_b.1.block.2", inner, squeezed, 1, 1, 1)
                    self[f"{at}.branch2.norm_b.1.block.2.bias"] = self.random(inner)
                self.conv(f"{at}.branch2.conv_c", out, inner, 1, 1, 1)
                self.norm(f"{at}.branch2.norm_c", out)
                channels = out
        features = round(2048 * width)
        self.conv("blocks.5.pool.pre_conv", inner, channels, 1, 1, 1)
        self.norm("blocks.5.pool.pre_norm", inner)
        self.conv("blocks.5.pool.post_conv", features, inner, 1, 1, 1)
        self["blocks.5.proj.weight"] = self.random(400, features) / math.sqrt(features)
        self["blocks.5.proj.bias"] = self.random(400)

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
        self[f"{name}.running_var"] = self.random(n).abs() + 0.5
        self[f"{name}.num_batches_tracked"] = torch.tensor(1, device=self.device)

    def slowfast(self) -> dict[str, Tensor]:
        """The same under SlowFast's names, which has one more BatchNorm."""
        renamed = {}
        for name, value in self.items():
            for old, new in SLOWFAST:
                name = re.sub(old, new, name)
            renamed[name] = value
        more = Release.__new__(Release)
        more.device, more.generator = self.device, self.generator
        more.norm("s2.pathway0_res0.branch1_bn", len(self["blocks.0.norm.weight"]))
        return {**renamed, **more}

    def bn(self, name: str, x: Tensor) -> Tensor:
        values = [self[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *values)

    def logits(self, x: Tensor) -> Tensor:
        """What PyTorchVideo computes, in evaluation, without its softmax."""
        x = F.conv3d(x, self["blocks.0.conv.conv_t.weight"], None, (1, 2, 2), (0, 1, 1))
        x = F.conv3d(x, self["blocks.0.conv.conv_xy.weight"], None, 1, (2, 0, 0), 1, x.shape[1])
        x = self.bn("blocks.0.norm", x).relu()
        for stage, depth in enumerate((3, 5, 11, 7)):
            for i in range(depth):
                at, s = f"blocks.{stage + 1}.res_blocks.{i}", (1, 2, 2) if i == 0 else 1
                y = self.bn(f"{at}.branch2.norm_a", F.conv3d(x, self[f"{at}.branch2.conv_a.weight"])).relu()
                y = F.conv3d(y, self[f"{at}.branch2.conv_b.weight"], None, s, 1, 1, y.shape[1])
                y = self.bn(f"{at}.branch2.norm_b.0", y)
                if i % 2 == 0:
                    fc = f"{at}.branch2.norm_b.1.block"
                    z = y.mean((2, 3, 4), keepdim=True)
                    z = F.conv3d(z, self[f"{fc}.0.weight"], self[f"{fc}.0.bias"]).relu()
                    y = y * F.conv3d(z, self[f"{fc}.2.weight"], self[f"{fc}.2.bias"]).sigmoid()
                y = y * y.sigmoid()
                y = self.bn(f"{at}.branch2.norm_c", F.conv3d(y, self[f"{at}.branch2.conv_c.weight"]))
                if i == 0:
                    x = F.conv3d(x, self[f"{at}.branch1_conv.weight"], None, s)
                    x = self.bn(f"{at}.branch1_norm", x) if f"{at}.branch1_norm.weight" in self else x
                x = (x + y).relu()
        x = self.bn("blocks.5.pool.pre_norm", F.conv3d(x, self["blocks.5.pool.pre_conv.weight"])).relu()
        x = F.conv3d(x.mean((2, 3, 4), keepdim=True), self["blocks.5.pool.post_conv.weight"]).relu()
        return F.linear(x.flatten(1), self["blocks.5.proj.weight"], self["blocks.5.proj.bias"])


def renamed(release: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor under the one candidate that the network has."""
    found = {}
    for name, value in release.items():
        (target,) = [c for c in candidates(name) if c in own]
        assert target not in found
        found[target] = value
    return found


def test_it_computes_what_pytorchvideo_does() -> None:
    release = Release(width=0.125)
    model = create_model("x3d_s", width=0.125, frames=3).double().eval()
    model.load_state_dict(renamed(release, model.state_dict()))
    x = clip(t=3, size=24).double()
    torch.testing.assert_close(model(x), release.logits(x))
    torch.testing.assert_close(model(x[..., :19, :]), release.logits(x[..., :19, :]))


@pytest.mark.parametrize("slowfast", [False, True])
def test_releases_fit_name_by_name_and_shape_by_shape(slowfast: bool) -> None:
    release = Release(device="meta")
    names = release.slowfast() if slowfast else dict(release)
    with torch.device("meta"):
        model = create_model("x3d_m", shortcut_norm=slowfast)
    own = model.state_dict()
    found = renamed({f"module.{k}": v for k, v in names.items()}, own)
    assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in own.items()}
    assert remarks(model, names) == []
    if slowfast:
        assert {
            "s2.pathway0_res0.branch1_bn.weight", "s1.pathway0_stem.conv.weight", "head.lin_5.weight",
            "s5.pathway0_res6.branch2.se.fc2.bias", "s3.pathway0_res4.branch2.b_bn.running_var",
        } <= set(names)  # fmt: skip


def remarks(model: VideoModel, names: dict[str, Tensor]) -> list[str]:
    options = model.architecture["options"]
    return implied_for(model, options, names).differences(options)


def test_the_two_releases_are_told_apart() -> None:
    release = Release(device="meta")
    with torch.device("meta"):
        with_norm, without = (create_model("x3d_m", shortcut_norm=norm) for norm in (True, False))
    assert "a network with shortcut_norm=True" in remarks(without, release.slowfast())[0]
    assert "a network with shortcut_norm=False" in remarks(with_norm, release)[0]
    assert candidates("module.layer1.0.conv_a.weight") == ["layer1.0.conv_a.weight"]
    assert candidates("s4.pathway0_res10.branch2.c_bn.bias") == ["layer3.10.norm_c.bias"]


def test_width_of_squeeze_and_excitation() -> None:
    assert [multiple_of_8(n / 16) for n in (54, 108, 216, 432, 630)] == [8, 8, 16, 32, 40]


def test_maps_of_the_head_are_the_head_at_each_position() -> None:
    model = small()
    x = model.forward_features(clip())
    maps = model.head.maps(x)
    assert maps.shape == (2, model.classifier.in_features, 4, 2, 2)
    torch.testing.assert_close(maps[:, :, 1, 0, 1], model.head(x[:, :, 1:2, 0:1, 1:2]))


def test_golden_output() -> None:
    """A fixed network on a fixed clip: what it gave when it was built and checked."""
    model = create_model("x3d_s", **{**SMALL, "width": 0.125}).eval()
    for i, p in enumerate(model.parameters()):
        with torch.no_grad():
            wave = torch.sin(torch.arange(p.numel(), dtype=torch.float64) * 0.7 + i).view(p.shape)
            p.copy_(wave * 0.3 + (p.ndim == 1))
    x = torch.cos(torch.arange(3 * 4 * 32 * 32, dtype=torch.float64) * 0.01).view(1, 3, 4, 32, 32)
    with torch.no_grad():
        found = model.double()(x)[0]
    torch.testing.assert_close(found, torch.tensor(GOLDEN, dtype=torch.float64), rtol=1e-6, atol=0)


GOLDEN = [0.444972583, 1.171823020, 0.747062754, 1.581102017, 0.951967083]


def test_unknown_options_are_one_sentence() -> None:
    with pytest.raises(KinemaError, match="did you mean 'shortcut_norm'"):
        create_model("x3d_m", shortcut_nrm=True)
    assert isinstance(small().layer1[0].shortcut[0], nn.Conv3d)
