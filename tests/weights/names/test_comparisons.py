"""Releases of TEA, Res2Net, TANet and MF-Net written out on their own names: the networks here compute the same.

Names and computations were read from the authors' code and mmaction2's; no file of theirs was loaded.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.models import create_model
from kinema.weights.implied import implied
from kinema.weights.importing import import_weights

STAGES = (3, 4, 6, 3)


class Release(dict[str, Tensor]):
    """A state dict in the making, in evaluation, and what its layers compute."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(3)

    def random(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def weight(self, name: str, o: int, i: int, *kernel: int) -> None:
        self[f"{name}.weight"] = self.random(o, i, *kernel) * (2 / (i * math.prod(kernel))) ** 0.5

    def norm(self, name: str, n: int) -> None:
        self[f"{name}.weight"] = self.random(n) * 0.2 + 1
        self[f"{name}.bias"] = self.random(n) * 0.1
        self[f"{name}.running_mean"] = self.random(n) * 0.1
        self[f"{name}.running_var"] = self.random(n).abs() + 0.5
        self[f"{name}.num_batches_tracked"] = torch.tensor(1)

    def linear(self, name: str, o: int, i: int) -> None:
        self[f"{name}.weight"], self[f"{name}.bias"] = self.random(o, i) / math.sqrt(i), self.random(o)

    def bn(self, name: str, x: Tensor) -> Tensor:
        return F.batch_norm(x, *(self[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")))

    def conv(self, name: str, x: Tensor, **how: Any) -> Tensor:
        function = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[self[f"{name}.weight"].ndim]
        return function(x, self[f"{name}.weight"], **how)


def stem(r: Release, conv: str, norm: str, x: Tensor) -> Tensor:
    return F.max_pool2d(r.bn(norm, r.conv(conv, x, stride=2, padding=3)).relu(), 3, 2, 1)


# ---- TEA, and the Res2Net that it is made from


def tea_release(tea: bool, base: int = 8, classes: int = 7) -> Release:
    r, at, channels = Release(), "base_model." if tea else "", base
    r.weight(f"{at}conv1", base, 3, 7, 7)
    r.norm(f"{at}bn1", base)
    for s, blocks in enumerate(STAGES):
        planes = base * 2**s
        wide = planes * 26 // 64
        for i in range(blocks):
            b = f"{at}layer{s + 1}.{i}."
            if tea:
                inner = max(1, 4 * wide // 16)
                r.weight(f"{b}me.conv1", inner, 4 * wide, 1, 1)
                r.norm(f"{b}me.bn1", inner)
                r.weight(f"{b}me.conv2", inner, 1, 3, 3)
                r.weight(f"{b}me.conv3", 4 * wide, inner, 1, 1)
                r.norm(f"{b}me.bn3", 4 * wide)
                for k in range(4):
                    r.weight(f"{b}shifts.{k}.conv", wide, 1, 3)
            r.weight(f"{b}conv1", 4 * wide, channels, 1, 1)
            r.norm(f"{b}bn1", 4 * wide)
            for k in range(3):
                r.weight(f"{b}convs.{k}", wide, wide, 3, 3)
                r.norm(f"{b}bns.{k}", wide)
            r.weight(f"{b}conv3", planes * 4, 4 * wide, 1, 1)
            r.norm(f"{b}bn3", planes * 4)
            if i == 0:
                r.weight(f"{b}downsample.0", planes * 4, channels, 1, 1)
                r.norm(f"{b}downsample.1", planes * 4)
            channels = planes * 4
    r.linear("new_fc" if tea else "fc", classes, channels)
    return r


def tea_logits(r: Release, tea: bool, x: Tensor) -> Tensor:
    at, (n, _, t, h, w) = "base_model." if tea else "", x.shape
    x = stem(r, f"{at}conv1", f"{at}bn1", x.transpose(1, 2).reshape(n * t, 3, h, w))

    def over_time(b: str, k: int, y: Tensor) -> Tensor:
        if not tea:
            return y
        rows = y.view(n, t, *y.shape[1:]).permute(0, 3, 4, 2, 1).reshape(-1, y.shape[1], t)
        rows = r.conv(f"{b}shifts.{k}.conv", rows, padding=1, groups=y.shape[1])
        return rows.view(n, *y.shape[2:], y.shape[1], t).permute(0, 4, 3, 1, 2).reshape(y.shape)

    for s, blocks in enumerate(STAGES):
        for i in range(blocks):
            b, first, stride = f"{at}layer{s + 1}.{i}.", i == 0, 2 if s > 0 and i == 0 else 1
            y = r.bn(f"{b}bn1", r.conv(f"{b}conv1", x)).relu()
            if tea:
                f = r.bn(f"{b}me.bn1", r.conv(f"{b}me.conv1", y))
                moved = r.conv(f"{b}me.conv2", f, padding=1, groups=f.shape[1])
                f, moved = f.view(n, t, *f.shape[1:]), moved.view(n, t, *moved.shape[1:])
                motion = F.pad(moved[:, 1:] - f[:, :-1], (0, 0, 0, 0, 0, 0, 0, 1)).flatten(0, 1).mean((2, 3), True)
                y = y + y * (r.bn(f"{b}me.bn3", r.conv(f"{b}me.conv3", motion)).sigmoid() - 0.5)
            parts, results = y.chunk(4, 1), []
            for k in range(3):
                part = parts[k] if first or k == 0 else parts[k] + results[-1]
                part = r.conv(f"{b}convs.{k}", over_time(b, k, part), stride=stride, padding=1)
                results.append(r.bn(f"{b}bns.{k}", part).relu())
            last = over_time(b, 3, parts[3])
            results.append(F.avg_pool2d(last, 3, stride, 1) if first else last)
            y = r.bn(f"{b}bn3", r.conv(f"{b}conv3", torch.cat(results, 1)))
            if first:
                x = r.bn(f"{b}downsample.1", r.conv(f"{b}downsample.0", x, stride=stride))
            x = (x + y).relu()
    fc = "new_fc" if tea else "fc"
    return F.linear(x.mean((2, 3)), r[f"{fc}.weight"], r[f"{fc}.bias"]).view(n, t, -1).mean(1)


# ---- TANet, of its authors and of mmaction2


def tanet_release(mmaction2: bool, base: int = 8, classes: int = 7, frames: int = 4) -> Release:
    r, channels = Release(), base

    def layer(at: str, kind: str, k: int | str, o: int, i: int, size: int) -> None:
        if mmaction2:
            name = f"{at}{kind}{k}"
            r.weight(f"{name}.conv", o, i, size, size)
            r.norm(f"{name}.bn", o)
        else:
            conv, norm = (f"{at}{kind}.0", f"{at}{kind}.1") if kind == "downsample" else (f"{at}conv{k}", f"{at}bn{k}")
            r.weight(conv, o, i, size, size)
            r.norm(norm, o)

    top = "backbone." if mmaction2 else "base_model."
    layer(top, "conv", 1, base, 3, 7)
    for s, blocks in enumerate(STAGES):
        planes = base * 2**s
        for i in range(blocks):
            b = f"{top}layer{s + 1}.{i}."
            inside = b + ("block." if mmaction2 else "net.")
            layer(inside, "conv", 1, planes, channels, 1)
            layer(inside, "conv", 2, planes, planes, 3)
            layer(inside, "conv", 3, planes * 4, planes, 1)
            if i == 0:
                layer(inside, "downsample", "", planes * 4, channels, 1)
            r.weight(f"{b}tam.G.0", frames * 2, frames)
            r.norm(f"{b}tam.G.1", frames * 2)
            r.weight(f"{b}tam.G.3", 3, frames * 2)
            r.weight(f"{b}tam.L.0", planes // 4, planes, 3)
            r.norm(f"{b}tam.L.1", planes // 4)
            r.weight(f"{b}tam.L.3", planes, planes // 4, 1)
            channels = planes * 4
    r.linear("cls_head.fc_cls" if mmaction2 else "new_fc", classes, channels)
    return r


def tanet_logits(r: Release, mmaction2: bool, x: Tensor) -> Tensor:
    n, _, t, h, w = x.shape

    def layer(at: str, kind: str, k: int | str, y: Tensor, **how: Any) -> Tensor:
        if mmaction2:
            return r.bn(f"{at}{kind}{k}.bn", r.conv(f"{at}{kind}{k}.conv", y, **how))
        conv, norm = (f"{at}{kind}.0", f"{at}{kind}.1") if kind == "downsample" else (f"{at}conv{k}", f"{at}bn{k}")
        return r.bn(norm, r.conv(conv, y, **how))

    def tam(b: str, y: Tensor) -> Tensor:
        clip = y.view(n, t, *y.shape[1:]).transpose(1, 2)
        s = clip.mean((3, 4))
        hidden = r.bn(f"{b}tam.G.1", s.reshape(-1, t) @ r[f"{b}tam.G.0.weight"].T).relu()
        kernel = (hidden @ r[f"{b}tam.G.3.weight"].T).softmax(-1).view(-1, 1, 3, 1)
        local = r.bn(f"{b}tam.L.1", r.conv(f"{b}tam.L.0", s, padding=1)).relu()
        local = r.conv(f"{b}tam.L.3", local).sigmoid()
        rows = (clip * local[..., None, None]).reshape(1, -1, t, y.shape[2] * y.shape[3])
        rows = F.conv2d(rows, kernel, padding=(1, 0), groups=len(kernel))
        return rows.view(clip.shape).transpose(1, 2).reshape(y.shape)

    top = "backbone." if mmaction2 else "base_model."
    x = layer(top, "conv", 1, x.transpose(1, 2).reshape(n * t, 3, h, w), stride=2, padding=3).relu()
    x = F.max_pool2d(x, 3, 2, 1)
    for s, blocks in enumerate(STAGES):
        for i in range(blocks):
            b, stride = f"{top}layer{s + 1}.{i}.", 2 if s > 0 and i == 0 else 1
            inside = b + ("block." if mmaction2 else "net.")
            y = tam(b, layer(inside, "conv", 1, x).relu())
            y = layer(inside, "conv", 2, y, stride=stride, padding=1).relu()
            y = layer(inside, "conv", 3, y)
            x = (y + (layer(inside, "downsample", "", x, stride=stride) if i == 0 else x)).relu()
    fc = "cls_head.fc_cls" if mmaction2 else "new_fc"
    return F.linear(x.mean((2, 3)), r[f"{fc}.weight"], r[f"{fc}.bias"]).view(n, t, -1).mean(1)


# ---- MF-Net


def mfnet_release(flat: bool = False, base: int = 12, groups: int = 2, classes: int = 7) -> Release:
    r, channels = Release(), base // 6

    def unit(name: str, o: int, i: int, *kernel: int) -> None:
        r.norm(f"{name}.bn", i * groups if len(kernel) > 3 else i)
        r.weight(f"{name}.conv", o, i, *(kernel[1:3] if flat else kernel[:3]))

    r.weight("conv1.conv", channels, 3, *((5, 5) if flat else (3, 5, 5)))
    r.norm("conv1.bn", channels)
    for s, blocks in enumerate(STAGES):
        wide = base * 2**s
        for i in range(blocks):
            b = f"conv{s + 2}.B{i + 1:02d}.conv_"
            unit(f"{b}i1", wide // 4, channels, 1, 1, 1)
            unit(f"{b}i2", channels, wide // 4, 1, 1, 1)
            unit(f"{b}m1", wide, channels // groups, 3, 3, 3, groups)
            if i == 0:
                unit(f"{b}m2", wide, wide, 1, 1, 1)
                unit(f"{b}w1", wide, channels, 1, 1, 1)
            else:
                unit(f"{b}m2", wide, wide // groups, 1, 3, 3, groups)
            channels = wide
    r.norm("tail.bn", channels)
    r.linear("classifier", classes, channels)
    return r


def mfnet_logits(r: Release, x: Tensor, groups: int = 2) -> Tensor:
    def unit(name: str, y: Tensor, **how: Any) -> Tensor:
        return r.conv(f"{name}.conv", r.bn(f"{name}.bn", y).relu(), **how)

    x = r.bn("conv1.bn", r.conv("conv1.conv", x, stride=(1, 2, 2), padding=(1, 2, 2))).relu()
    x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for s, blocks in enumerate(STAGES):
        for i in range(blocks):
            b, stride = f"conv{s + 2}.B{i + 1:02d}.conv_", (1, 1, 1) if i else (2, 1, 1) if s == 0 else (1, 2, 2)
            y = unit(f"{b}m1", x + unit(f"{b}i2", unit(f"{b}i1", x)), stride=stride, padding=1, groups=groups)
            if i == 0:
                x = unit(f"{b}m2", y) + unit(f"{b}w1", x, stride=stride)
            else:
                x = unit(f"{b}m2", y, padding=(0, 1, 1), groups=groups) + x
    x = r.bn("tail.bn", x).relu().mean((2, 3, 4))
    return F.linear(x, r["classifier.weight"], r["classifier.bias"])


def clip(t: int = 4, size: int = 40) -> Tensor:
    return torch.randn(2, 3, t, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


RELEASES = [
    ("tea_r50", "TEA", tea_release(True), lambda r, x: tea_logits(r, True, x), {"mode": "tea"}),
    ("tea_r50", "Res2Net", tea_release(False), lambda r, x: tea_logits(r, False, x), {"mode": "res2net"}),
    ("tanet_r50", "TANet", tanet_release(False), lambda r, x: tanet_logits(r, False, x), {}),
    ("tanet_r50", "mmaction2 TANet", tanet_release(True), lambda r, x: tanet_logits(r, True, x), {}),
    ("mfnet", "PyTorch-MFNet", mfnet_release(), mfnet_logits, {"groups": 2}),
]


@pytest.mark.parametrize(("name", "project", "release", "logits", "options"), RELEASES, ids=[r[1] for r in RELEASES])
def test_it_computes_what_the_release_does(
    name: str, project: str, release: Release, logits: Any, options: dict[str, Any]
) -> None:
    given = {f"module.{key}": value for key, value in release.items()}
    found = implied(name, {"width": 0.125, **options}, given)
    assert found.format == project and found.refused is None
    assert found.options.get("frames", 4) == 4
    complete = found.complete({"width": 0.125, **options})
    model = create_model(name, num_classes=7, **complete).double().eval()
    report = import_weights(model, given)
    assert report.complete and report.classifier and not report.new
    with torch.no_grad():
        torch.testing.assert_close(model(clip()), logits(release, clip()))


def test_the_frames_of_tanet_follow_from_the_file_and_another_number_is_refused() -> None:
    release = tanet_release(True, frames=5)
    assert implied("tanet_r50", {"width": 0.125}, release).options == {
        "frames": 5, "alpha": 2, "kernel_size": 3, "beta": 4,
    }  # fmt: skip
    with pytest.raises(KinemaError, match=r"options\.frames is 8, but the file .* frames=5"):
        implied("tanet_r50", {"width": 0.125}, release).complete({"frames": 8})


@pytest.mark.parametrize(
    ("name", "release", "right"),
    [
        ("tsm_r50", tea_release(True), "tea_r50"),
        ("tanet_r50", tea_release(False), "tea_r50"),
        ("tsn_r50", tanet_release(False), "tanet_r50"),
        ("stm_r50", tanet_release(True), "tanet_r50"),
    ],
)
def test_a_file_of_other_blocks_is_refused_with_the_network_that_has_them(
    name: str, release: Release, right: str
) -> None:
    with pytest.raises(KinemaError, match=rf"give --model {right}"):
        implied(name, {"width": 0.125}, release).complete({})


def test_tea_starts_from_res2net_and_mfnet_from_its_2d_network() -> None:
    model = create_model("tea_r50", num_classes=3, width=0.125)
    report = import_weights(model, tea_release(False))
    assert report.complete and not report.classifier
    assert all(".me." in key or ".mta.t." in key for key in report.new)
    flat = mfnet_release(flat=True)
    model = create_model("mfnet", num_classes=7, width=0.125, groups=2)
    report = import_weights(model, flat)
    assert report.complete and report.classifier
    weight = model.get_submodule("layer1.1.fibers.0.conv").weight
    torch.testing.assert_close(weight.sum(2), flat["conv2.B02.conv_m1.conv.weight"].float())
    assert torch.equal(weight[:, :, 0], weight[:, :, 2])
