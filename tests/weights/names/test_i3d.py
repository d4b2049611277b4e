"""Weights of inflated ResNets under the names of other releases, from state dicts with their documented names.

What a release computes is written out with functional calls on its own names, and compared with the network.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from weights.test_importing import reference, torchvision_resnet

from kinema.models import create_model
from kinema.weights.importing import ImportReport, import_weights, start_from
from kinema.weights.names.i3d import candidates

BLOCKS = (3, 4, 6, 3)
BASE, CLASSES = 8, 7
STATS = ("weight", "bias", "running_mean", "running_var")
BLOBS = dict(zip(STATS, ("s", "b", "rm", "riv"), strict=True))
LETTERS = "abc"

# Name of a tensor: (part, stage 1 to 4, block, number of the convolution) -> name without the tensor's own; "stem",
# "conv", "down" and "theta", "phi", "g", "out" are convolutions, the same with " norm" their BatchNorms.
Names = Callable[[str, int, int, int, str], str]


def mmaction2(part: str, s: int, i: int, k: int, tensor: str) -> str:
    at = f"backbone.layer{s}.{i}."
    kind, module = ("bn", part.removesuffix(" norm")) if part.endswith("norm") else ("conv", part)
    place = {
        "stem": "backbone.conv1.", "conv": f"{at}conv{k}.", "down": f"{at}downsample.",
        "theta": f"{at}non_local_block.theta.", "phi": f"{at}non_local_block.phi.0.",
        "g": f"{at}non_local_block.g.0.", "out": f"{at}non_local_block.conv_out.",
    }  # fmt: skip
    return f"cls_head.fc_cls.{tensor}" if part == "fc" else f"{place[module]}{kind}.{tensor}"


def pyslowfast(part: str, s: int, i: int, k: int, tensor: str) -> str:
    at = f"s{s + 1}.pathway0_res{i}."
    letter = LETTERS[k - 1]
    return {
        "stem": "s1.pathway0_stem.conv.", "stem norm": "s1.pathway0_stem.bn.", "down": f"{at}branch1.",
        "down norm": f"{at}branch1_bn.", "conv": f"{at}branch2.{letter}.", "conv norm": f"{at}branch2.{letter}_bn.",
        "out norm": f"s{s + 1}.pathway0_nonlocal{i}.bn.", "fc": "head.projection.",
    }.get(part, f"s{s + 1}.pathway0_nonlocal{i}.conv_{part}.") + tensor  # fmt: skip


def caffe2(part: str, s: int, i: int, k: int, tensor: str) -> str:
    at, letter = f"res{s + 1}_{i}_branch", LETTERS[k - 1]
    place = {
        "stem": "conv1", "stem norm": "res_conv1_bn", "down": f"{at}1", "down norm": f"{at}1_bn",
        "conv": f"{at}2{letter}", "conv norm": f"{at}2{letter}_bn", "out norm": f"nonlocal_conv{s + 1}_{i}_bn",
        "fc": "pred",
    }.get(part, f"nonlocal_conv{s + 1}_{i}_{part}")  # fmt: skip
    return f"{place}_{BLOBS[tensor] if part.endswith('norm') else tensor[0]}"


def pytorchvideo(part: str, s: int, i: int, k: int, tensor: str, pooled: bool = False) -> str:
    at = f"blocks.{s + (pooled and s > 1)}.res_blocks.{i}."
    letter = LETTERS[k - 1]
    return {
        "stem": "blocks.0.conv.", "stem norm": "blocks.0.norm.", "down": f"{at}branch1_conv.",
        "down norm": f"{at}branch1_norm.", "conv": f"{at}branch2.conv_{letter}.",
        "conv norm": f"{at}branch2.norm_{letter}.", "fc": f"blocks.{5 + pooled}.proj.",
    }[part] + tensor  # fmt: skip


def pytorchvideo_pooled(part: str, s: int, i: int, k: int, tensor: str) -> str:
    return pytorchvideo(part, s, i, k, tensor, pooled=True)


def gluon(part: str, s: int, i: int, k: int, tensor: str) -> str:
    at = f"res_layers.{s - 1}.{i}."
    return {
        "stem": "first_stage.0.", "stem norm": "first_stage.1.", "down": f"{at}downsample.0.",
        "down norm": f"{at}downsample.1.", "conv": f"{at}conv{k}.", "conv norm": f"{at}bn{k}.",
        "out": f"{at}nonlocal_block.W.", "out norm": f"{at}nonlocal_block.bn.", "fc": "fc.",
    }.get(part, f"{at}nonlocal_block.{part}.") + tensor  # fmt: skip


class Release(dict[str, Tensor]):
    """A release's state dict in the making, and what a network of it computes."""

    def __init__(self, name: Names, kernel_size: Callable[[int, int], int], places: dict[int, tuple[int, ...]]) -> None:
        super().__init__()
        self.name, self.kernel_size, self.places = name, kernel_size, places
        self.generator = torch.Generator().manual_seed(3)

    def random(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def conv(self, part: str, s: int, i: int, k: int, shape: tuple[int, ...], bias: bool = False) -> None:
        fan = torch.tensor(shape[1:]).prod().item()
        self[self.name(part, s, i, k, "weight")] = self.random(*shape) * (2 / fan) ** 0.5
        if bias:
            self[self.name(part, s, i, k, "bias")] = self.random(shape[0]) * 0.1

    def norm(self, part: str, s: int, i: int, k: int, n: int) -> None:
        for stat in STATS:
            value = self.random(n) * 0.1
            value = value.abs() + 0.7 if stat == "running_var" else value + (stat == "weight")
            self[self.name(f"{part} norm", s, i, k, stat)] = value

    def blocks(self, base: int, stem_taps: int, into: Callable[[int, int], int] = lambda s, i: i) -> int:
        """All but the classifier; `into` may widen what goes into a stage."""
        self.conv("stem", 0, 0, 1, (base, 3, stem_taps, 7, 7))
        self.norm("stem", 0, 0, 1, base)
        channels = base
        for s, count in enumerate(BLOCKS, 1):
            inner, channels = base * 2 ** (s - 1), into(s, channels)
            for i in range(count):
                shapes = [
                    (inner, channels, self.kernel_size(s, i), 1, 1),
                    (inner, inner, 1, 3, 3),
                    (inner * 4, inner, 1, 1, 1),
                ]
                for k, shape in enumerate(shapes, 1):
                    self.conv("conv", s, i, k, shape)
                    self.norm("conv", s, i, k, shape[0])
                if i == 0:
                    self.conv("down", s, i, 1, (inner * 4, channels, 1, 1, 1))
                    self.norm("down", s, i, 1, inner * 4)
                channels = inner * 4
                if i in self.places.get(s, ()):
                    for part in ("theta", "phi", "g", "out"):
                        ends = (channels, channels // 2) if part == "out" else (channels // 2, channels)
                        self.conv(part, s, i, 1, (*ends, 1, 1, 1), bias=part != "out" or self.name is not mmaction2)
                    self.norm("out", s, i, 1, channels)
        return channels

    def classifier(self, features: int) -> Release:
        self[self.name("fc", 0, 0, 1, "weight")] = self.random(CLASSES, features) * 0.1
        self[self.name("fc", 0, 0, 1, "bias")] = self.random(CLASSES)
        return self

    # -- what it computes

    def step(self, x: Tensor, part: str, s: int, i: int, k: int, stride: tuple[int, int, int] = (1, 1, 1)) -> Tensor:
        weight = self[self.name(part, s, i, k, "weight")]
        y = F.conv3d(x, weight, None, stride, tuple(n // 2 for n in weight.shape[2:]))
        return self.normalised(y, part, s, i, k)

    def normalised(self, y: Tensor, part: str, s: int, i: int, k: int) -> Tensor:
        w = [self[self.name(f"{part} norm", s, i, k, stat)] for stat in STATS]
        return F.batch_norm(y, w[2], w[3], w[0], w[1])

    def stem(self, x: Tensor, step: int = 1) -> Tensor:
        return F.max_pool3d(self.step(x, "stem", 0, 0, 1, (step, 2, 2)).relu(), (1, 3, 3), (step, 2, 2), (0, 1, 1))

    def stage(self, x: Tensor, s: int, sub_sample: str = "none", scaled: bool = False) -> Tensor:
        for i in range(BLOCKS[s - 1]):
            stride = (1, 2, 2) if s > 1 and i == 0 else (1, 1, 1)
            y = self.step(x, "conv", s, i, 1).relu()
            y = self.step(y, "conv", s, i, 2, stride).relu()
            y = self.step(y, "conv", s, i, 3)
            x = (y + (self.step(x, "down", s, i, 1, stride) if i == 0 else x)).relu()
            if i in self.places.get(s, ()):
                x = self.look(x, s, i, sub_sample, scaled)
        return x

    def look(self, x: Tensor, s: int, i: int, sub_sample: str, scaled: bool) -> Tensor:
        def pointwise(part: str, z: Tensor) -> Tensor:
            bias = self.get(self.name(part, s, i, 1, "bias"))
            return F.conv3d(z, self[self.name(part, s, i, 1, "weight")], bias)

        seen = F.max_pool3d(x, (1, 2, 2)) if sub_sample == "before" else x
        q, k, v = pointwise("theta", x), pointwise("phi", seen), pointwise("g", seen)
        if sub_sample == "after":
            k, v = F.max_pool3d(k, (1, 2, 2)), F.max_pool3d(v, (1, 2, 2))
        table = torch.einsum("ncl,ncm->nlm", q.flatten(2), k.flatten(2))
        weights = (table / q.shape[1] ** 0.5 if scaled else table).softmax(2)
        y = torch.einsum("nlm,ncm->ncl", weights, v.flatten(2)).view_as(q)
        return x + self.normalised(pointwise("out", y), "out", s, i, 1)

    def logits(self, features: Tensor) -> Tensor:
        return F.linear(features, *(self[self.name("fc", 0, 0, 1, tensor)] for tensor in ("weight", "bias")))


def no_time(s: int, i: int) -> int:
    return 1


def i3d_taps(s: int, i: int) -> int:
    return 3 if i in {1: (0, 1, 2), 2: (0, 2), 3: (0, 2, 4), 4: (1,)}[s] else 1


def slow_taps(s: int, i: int) -> int:
    return 3 if s >= 3 else 1


NL5 = {2: (1, 3), 3: (1, 3, 5)}
# release, network, options, (sub-sampling, scaled, stride of the stem, pooling)
RELEASES = [
    (mmaction2, "i3d_50", {"pool2": True}, ("none", False, 2, True)),
    (mmaction2, "i3d_nl_50", {}, ("after", False, 2, False)),
    (mmaction2, "slowonly_50", {}, ("none", False, 1, False)),
    (pyslowfast, "i3d_nl_50", {"pool2": True, "stem_stride": 1, "sub_sample": "before", "scaled": True},
     ("before", True, 1, True)),
    (pyslowfast, "r2d_50", {}, ("none", False, 1, False)),
    (caffe2, "r2d_nl_50", {"pool2": True, "sub_sample": "before", "scaled": True}, ("before", True, 1, True)),
    (pytorchvideo, "slowonly_50", {}, ("none", False, 1, False)),
    (pytorchvideo_pooled, "i3d_50", {"pool2": True, "stem_stride": 1}, ("none", False, 1, True)),
    (gluon, "i3d_nl_50", {"pool2": True, "sub_sample": "none", "scaled": True}, ("none", True, 2, True)),
]  # fmt: skip


def release(name: Names, network: str) -> Release:
    kind = network.split("_")[0]
    kernel_size = {"r2d": no_time, "i3d": i3d_taps, "slowonly": slow_taps}[kind]
    made = Release(name, kernel_size, NL5 if "_nl_" in network else {})
    return made.classifier(made.blocks(BASE, 5 if kind == "i3d" else 1))


def check(network: str, source: dict[str, Tensor], options: dict, x: Tensor, expected: Tensor) -> ImportReport:
    model = create_model(network, num_classes=CLASSES, width=BASE / 64, **options).double().eval()
    report = import_weights(model, source)
    assert report.complete, report.lines()
    assert report.classifier
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected)
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    return report


@pytest.mark.parametrize(
    ("name", "network", "options", "how"), RELEASES, ids=[f"{r[0].__name__}-{r[1]}" for r in RELEASES]
)
def test_a_release_computes_the_same(
    name: Names, network: str, options: dict, how: tuple[str, bool, int, bool]
) -> None:
    source, (sub_sample, scaled, step, pooled) = release(name, network), how
    x = torch.randn(2, 3, 8, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = source.stem(x, step)
        for s in (1, 2, 3, 4):
            y = source.stage(y, s, sub_sample, scaled)
            y = F.max_pool3d(y, (2, 1, 1)) if pooled and s == 1 else y
        expected = source.logits(y.mean((2, 3, 4)))
    report = check(network, source, options, x, expected)
    assert len(report.loaded) == len(source)
    assert not report.converted
    assert all(key.endswith(".non_local.out.bias") for key in report.new)
    assert bool(report.new) == (name is mmaction2 and "_nl_" in network)
    prefixed = {f"module.{key}": value for key, value in source.items()}
    model = create_model(network, num_classes=CLASSES, width=BASE / 64, **options).double()
    assert import_weights(model, prefixed).complete


# ---- 2-D weights


@pytest.mark.parametrize("network", ["r2d_50", "i3d_50", "slowonly_50", "i3d_nl_50"])
def test_2d_kernels_are_repeated_and_divided(network: str) -> None:
    source = torchvision_resnet(50, base=BASE, classes=CLASSES)
    model = create_model(network, num_classes=CLASSES, width=BASE / 64).eval()
    report = import_weights(model, source)
    own = model.state_dict()
    names = {report.loaded[name]: name for name in source}
    for key, done in report.converted.items():
        frames = own[key].shape[2]
        assert done == ("inflated from 2-D to 1 frame" if frames == 1 else f"inflated from 2-D to {frames} frames")
        for t in range(frames):
            torch.testing.assert_close(own[key][:, :, t] * frames, source[names[key]])
    assert sum(value.ndim == 4 for value in source.values()) == len(report.converted) == 53
    for key, name in names.items():
        if key not in report.converted:
            assert torch.equal(own[key], source[name])
    assert not report.unused and not report.shapes
    assert report.complete
    assert all(".non_local." in key for key in report.new)
    assert bool(report.new) == ("_nl_" in network)
    seen = {"r2d_50": 0, "slowonly_50": 9, "i3d_50": 9, "i3d_nl_50": 9}[network]
    lines = "\n".join(report.lines())
    assert ("  9 of them inflated from 2-D to 3 frames" in lines) == (seen == 9)
    assert ("  1 of them inflated from 2-D to 5 frames" in lines) == network.startswith("i3d")
    if network == "r2d_50":
        x = torch.randn(2, 3, 2, 64, 64)
        with torch.no_grad():
            expected = torch.stack([reference(source, 50, x[:, :, t]) for t in range(2)]).mean(0)
            torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", ["i3d_50", "i3d_nl_50"])
def test_training_starts_from_2d_weights_with_other_classes(tmp_path: Path, network: str) -> None:
    save_file(torchvision_resnet(50, base=BASE), tmp_path / "w.safetensors")
    report = start_from(create_model(network, num_classes=CLASSES, width=BASE / 64), tmp_path / "w.safetensors")
    assert not report.classifier
    assert "stem.conv.weight" in report.converted


def test_a_kernel_that_does_not_fit_is_not_inflated() -> None:
    source = torchvision_resnet(50, base=BASE, classes=CLASSES)
    source["layer1.0.conv2.weight"] = torch.zeros(BASE, BASE, 5, 5)
    report = import_weights(create_model("i3d_50", num_classes=CLASSES, width=BASE / 64), source)
    assert len(report.shapes) == 1
    assert report.shapes[0].startswith("layer1.0.conv2.weight")


# ---- what is twice or not there


def test_gluons_second_names_must_agree_with_the_first() -> None:
    source = dict(release(gluon, "i3d_nl_50"))
    source |= {f"head.1.{t}": source[f"fc.{t}"].clone() for t in ("weight", "bias")}
    for key in list(source):
        for old, new in ((".W.", ".W_bn.0."), ("block.bn.", "block.W_bn.1.")):
            if old in key:
                source[key.replace(old, new)] = source[key].clone()
    model = create_model("i3d_nl_50", num_classes=CLASSES, width=BASE / 64).double()
    assert import_weights(model, source).complete
    source["head.1.bias"] += 1
    report = import_weights(model, source)
    assert report.unused == ("head.1.bias",)
    assert torch.equal(model.classifier.bias, source["fc.bias"])


def test_what_else_caffe2_keeps_is_named() -> None:
    source = dict(release(caffe2, "r2d_50"))
    source |= {"conv1_w_momentum": torch.zeros(1), "lr": torch.zeros(1)}
    report = import_weights(create_model("r2d_50", num_classes=CLASSES, width=BASE / 64), source)
    assert report.unused == ("conv1_w_momentum", "lr")


def test_what_a_person_should_know_of_a_file() -> None:
    def said(name: Names, network: str) -> str:
        source = release(name, network)
        return " ".join(import_weights(create_model(network, num_classes=CLASSES, width=BASE / 64), source).remarks)

    assert "a network with pool2=True" in said(pytorchvideo_pooled, "i3d_50")
    assert "a network with stem_stride=1" in said(pytorchvideo_pooled, "i3d_50")
    assert not said(pytorchvideo, "slowonly_50")
    assert "a network with stem_stride=1" in said(pyslowfast, "i3d_50")
    assert "a network with sub_sample='before'" in said(caffe2, "i3d_nl_50")
    assert "published files of Caffe2 have scaled=True" in said(caffe2, "i3d_nl_50")
    assert "a network with sub_sample='none'" in said(gluon, "i3d_nl_50")
    assert "a network with scaled=True" in said(gluon, "i3d_nl_50")
    assert "published files of mmaction2 have pool2=True" in said(mmaction2, "i3d_50")


def test_own_names_stand_for_themselves() -> None:
    with torch.device("meta"):
        own = create_model("i3d_nl_50", nl="nl10").state_dict()
    for key in own:
        assert candidates(key) == [key]
