"""The Inception-v1 I3D: published counts, a release written out on its own names, padding, invariants, golden."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.evaluation.cost import count
from kinema.models import create_model
from kinema.models.inception3d import POOLS, SameConv3d, SamePool3d
from kinema.models.video_model import VideoModel
from kinema.ops.layout import same_padding
from kinema.weights.importing import import_weights
from kinema.weights.names.inception3d import candidates

SMALL = {"num_classes": 5, "frames": 8, "width": 0.125}

# The table of the 2-D network: name -> channels in, then of the branches (b0, b1a, b1b, b2a, b2b, b3b).
BLOCKS = {
    "3b": (192, (64, 96, 128, 16, 32, 32)), "3c": (256, (128, 128, 192, 32, 96, 64)),
    "4b": (480, (192, 96, 208, 16, 48, 64)), "4c": (512, (160, 112, 224, 24, 64, 64)),
    "4d": (512, (128, 128, 256, 24, 64, 64)), "4e": (512, (112, 144, 288, 32, 64, 64)),
    "4f": (528, (256, 160, 320, 32, 128, 128)), "5b": (832, (256, 160, 320, 32, 128, 128)),
    "5c": (832, (384, 192, 384, 48, 128, 128)),
}  # fmt: skip


def small(seed: int = 0, **options: Any) -> VideoModel:
    torch.manual_seed(seed)
    return create_model("i3d_v1", **{**SMALL, **options}).eval()


def clip(n: int = 2, t: int = 8, size: int = 48, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, t, size, size, generator=torch.Generator().manual_seed(seed))


def test_counts() -> None:
    """OpenVINO's zoo prints 12.69 M and 278.981 GFLOP for 79 frames; the papers 12 M and 107.9 G for 64."""
    cost = count("i3d_v1")
    assert (cost.frames, cost.size, cost.params) == (64, 224, 12_697_264)
    assert abs(cost.macs / 1e9 - 111.1507) < 0.0001
    assert abs(cost.macs / 1e9 / 107.9 - 1) < 0.031
    assert abs(count("i3d_v1", frames=79).flops / 1e9 / 278.981 - 1) < 0.004


def padded(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], value: float = 0.0) -> Tensor:
    """TensorFlow's SAME, position by position: the last window must reach the last frame."""
    pads: list[int] = []
    for size, k, s in reversed(list(zip(x.shape[2:], kernel, stride, strict=True))):
        total = max(0, (math.ceil(size / s) - 1) * s + k - size)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


class Release(dict[str, Tensor]):
    """A state dict with the names and shapes of pytorch-i3d, all channels divided by `shrink`."""

    def __init__(self, shrink: int = 1, device: str = "cpu") -> None:
        super().__init__()
        self.device, self.generator = device, torch.Generator().manual_seed(3)
        c = [n // shrink for n in (64, 192)]
        self.unit("Conv3d_1a_7x7", c[0], 3, 7)
        self.unit("Conv3d_2b_1x1", c[0], c[0], 1)
        self.unit("Conv3d_2c_3x3", c[1], c[0], 3)
        for name, (channels, branches) in BLOCKS.items():
            i, (b0, b1a, b1b, b2a, b2b, b3b) = channels // shrink, (n // shrink for n in branches)
            for branch, out, inside, k in (("b0", b0, i, 1), ("b1a", b1a, i, 1), ("b1b", b1b, b1a, 3),
                                           ("b2a", b2a, i, 1), ("b2b", b2b, b2a, 3), ("b3b", b3b, i, 1)):  # fmt: skip
                self.unit(f"Mixed_{name}.{branch}", out, inside, k)
        self["logits.conv3d.weight"] = self.random(400, 1024 // shrink, 1, 1, 1) / 32
        self["logits.conv3d.bias"] = self.random(400)

    def random(self, *shape: int) -> Tensor:
        if self.device == "meta":
            return torch.empty(*shape, device="meta")
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def unit(self, name: str, o: int, i: int, k: int) -> None:
        self[f"{name}.conv3d.weight"] = self.random(o, i, k, k, k) * (2 / (i * k**3)) ** 0.5
        self[f"{name}.bn.weight"] = self.random(o) * 0.2 + 1
        self[f"{name}.bn.bias"] = self.random(o) * 0.1
        self[f"{name}.bn.running_mean"] = self.random(o) * 0.1
        self[f"{name}.bn.running_var"] = self.random(o).abs() * 0.01 + 0.001  # small, so that epsilon matters
        self[f"{name}.bn.num_batches_tracked"] = torch.tensor(1, device=self.device)

    def run(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = self[f"{name}.conv3d.weight"]
        x = F.conv3d(padded(x, weight.shape[2:], (stride,) * 3), weight, None, stride)
        values = [self[f"{name}.bn.{k}"] for k in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *values, eps=1e-3).relu()

    def features(self, x: Tensor) -> Tensor:
        """What pytorch-i3d computes, in evaluation; it pads its pooling with zeros."""

        def pool(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
            return F.max_pool3d(padded(x, kernel, stride), kernel, stride)

        x = pool(self.run("Conv3d_1a_7x7", x, 2), (1, 3, 3), (1, 2, 2))
        x = pool(self.run("Conv3d_2c_3x3", self.run("Conv3d_2b_1x1", x)), (1, 3, 3), (1, 2, 2))
        for name in BLOCKS:
            if name == "4b":
                x = pool(x, (3, 3, 3), (2, 2, 2))
            if name == "5b":
                x = pool(x, (2, 2, 2), (2, 2, 2))
            at = f"Mixed_{name}"
            x = torch.cat(
                [
                    self.run(f"{at}.b0", x),
                    self.run(f"{at}.b1b", self.run(f"{at}.b1a", x)),
                    self.run(f"{at}.b2b", self.run(f"{at}.b2a", x)),
                    self.run(f"{at}.b3b", pool(x, (3, 3, 3), (1, 1, 1))),
                ],
                1,
            )
        return x

    def logits(self, x: Tensor) -> Tensor:
        """The mean over time of its outputs; its 2x7x7 pooling with stride 1 is all positions of a clip at 224."""
        x = self.features(x)
        x = F.avg_pool3d(x, (2, *x.shape[3:]), stride=1)
        return F.conv3d(x, self["logits.conv3d.weight"], self["logits.conv3d.bias"]).mean((2, 3, 4))


def renamed(release: Release) -> dict[str, Tensor]:
    """Every tensor under the one candidate that it has; the classifier without its three sizes of one."""
    found = {}
    for name, value in release.items():
        (target,) = candidates(name)
        assert target not in found
        found[target] = value.flatten(1) if name == "logits.conv3d.weight" else value
    return found


def test_it_computes_what_pytorch_i3d_does() -> None:
    release = Release(8)
    model = create_model("i3d_v1", width=0.125).double().eval()
    model.load_state_dict(renamed(release))
    x = clip(t=18, size=80).double()
    torch.testing.assert_close(model(x), release.logits(x))
    for sizes in ((8, 48, 48), (7, 41, 50), (1, 33, 65)):  # both parities at every stride
        x = clip(t=8, size=65)[:, :, : sizes[0], : sizes[1], : sizes[2]].double()
        torch.testing.assert_close(model.forward_features(x), release.features(x))


def test_a_release_fits_name_by_name_and_shape_by_shape() -> None:
    release = Release(device="meta")
    with torch.device("meta"):
        own = create_model("i3d_v1").state_dict()
    assert {k: v.shape for k, v in renamed(release).items()} == {k: v.shape for k, v in own.items()}
    assert candidates("module.Mixed_4f.b3b.bn.running_var") == ["layer3.mixed_f.branch3.1.norm.running_var"]
    assert all(candidates(key) == [key] for key in own)
    for name in ("Conv3d_9x.conv3d.weight", "Mixed_3b.b9.bn.bias", "end_points"):
        assert candidates(name) == [name]


def test_import_takes_the_whole_release() -> None:
    release = Release(8)
    model = create_model("i3d_v1", width=0.125)
    report = import_weights(model, release)
    assert report.complete and report.classifier
    torch.testing.assert_close(model.classifier.weight.double(), release["logits.conv3d.weight"].flatten(1))
    other = create_model("i3d_v1", width=0.125, num_classes=7)
    report = import_weights(other, release)
    assert report.complete and not report.classifier


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [2, 3, 7])
def test_padding_lets_the_last_window_reach_the_end_and_no_further(size: int, kernel: int, stride: int) -> None:
    before, after = same_padding(size, kernel, stride)
    assert after - before in (0, 1)
    windows = math.ceil(size / stride)
    reach = (windows - 1) * stride + kernel
    assert before + size + after == max(reach, size)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 3, 4), (5, 6, 7), (8, 9, 10)])
@pytest.mark.parametrize("kernel_stride", [*POOLS.values(), ((3, 3, 3), (1, 1, 1))])
def test_pooling_ignores_what_is_padded(sizes: tuple[int, ...], kernel_stride: tuple[Any, Any]) -> None:
    kernel, stride = kernel_stride
    x = torch.randn(2, 3, *sizes) - 5  # zeros would win
    expected = F.max_pool3d(padded(x, kernel, stride, value=-math.inf), kernel, stride)
    torch.testing.assert_close(SamePool3d(kernel, stride)(x), expected, rtol=0, atol=0)


def test_strided_convolution_keeps_memory_in_order() -> None:
    conv = SameConv3d(3, 4, (7, 7, 7), 2, bias=False)
    x = clip(t=6, size=17).contiguous(memory_format=torch.channels_last_3d)
    y = conv(x)
    assert y.shape == (2, 4, 3, 9, 9)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)


def test_what_it_is_meant_for() -> None:
    spec = create_model("i3d_v1", **SMALL).clip_spec
    assert (spec.stride, spec.crop, spec.mean) == (1, 224, (0.5, 0.5, 0.5))
    with pytest.raises(KinemaError, match="did you mean 'dropout'"):
        create_model("i3d_v1", drop_out=0.1)


def test_time_is_averaged_in_pairs() -> None:
    """Six pairs of seven steps: the first and the last step stand in one pair, the others in two."""
    model, x = small(), clip(t=49, size=32)
    steps = model.forward_features(x).mean((3, 4))
    assert steps.shape[2] == 7
    weights = torch.tensor([1.0, 2, 2, 2, 2, 2, 1]) / 12
    torch.testing.assert_close(model(x), model.classifier(steps @ weights))
    alone = clip(t=1, size=32)
    torch.testing.assert_close(model(alone), model.classifier(model.forward_features(alone).mean((2, 3, 4))))


def test_every_convolution_is_met_by_hooks_and_branches_follow_each_other() -> None:
    model, met = small(), []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_hook(lambda m, a, out, name=name: met.append(name))
    block, got = model.layer3.mixed_c, {}
    for branch in ("branch0", "branch1", "branch2", "branch3"):
        getattr(block, branch).register_forward_hook(lambda m, a, out, branch=branch: got.update({branch: out}))
    block.register_forward_hook(lambda m, a, out: got.update(whole=out))
    model(clip())
    assert len(met) == len(set(met)) == 57 == sum(isinstance(m, nn.Conv3d) for m in model.modules())
    expected = torch.cat([got[f"branch{i}"] for i in range(4)], 1)
    torch.testing.assert_close(got["whole"], expected, rtol=0, atol=0)


def test_golden_output() -> None:
    """A fixed network on a fixed clip: what it gave when it was built and checked."""
    model = small(width=0.0625)
    for i, p in enumerate(model.parameters()):
        with torch.no_grad():
            wave = torch.sin(torch.arange(p.numel(), dtype=torch.float64) * 0.7 + i).view(p.shape)
            p.copy_(wave * 0.3 + (p.ndim == 1))
    x = torch.cos(torch.arange(3 * 4 * 32 * 32, dtype=torch.float64) * 0.01).view(1, 3, 4, 32, 32)
    with torch.no_grad():
        found = model.double()(x)[0]
    torch.testing.assert_close(found, torch.tensor(GOLDEN, dtype=torch.float64), rtol=1e-6, atol=0)


GOLDEN = [-37.9739467, -141.692162, -155.195849, -69.9801081, 60.0624457]
