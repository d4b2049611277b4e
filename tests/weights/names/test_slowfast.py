"""Weights of SlowFast under the names of other releases, from state dicts with their documented names.

What a release computes is written out with functional calls on its own names, and compared with the network.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from weights.names.test_i3d import STATS, Names, Release, caffe2, mmaction2, pyslowfast, pytorchvideo

from kinema.models import create_model
from kinema.weights.importing import import_weights
from kinema.weights.names.slowfast import candidates

BASE, FAST, CLASSES, ALPHA, TAPS = 16, 2, 7, 4, 7
BLOBS = dict(zip(STATS, ("s", "b", "rm", "riv"), strict=True))

# Names inside a pathway (0 slow, 1 fast), from those of a network with one.
Inside = Callable[[str, int], str]
# Stage 1 to 4 that the convolution or BatchNorm between the pathways leads into, whether it is the BatchNorm, tensor.
Fusion = Callable[[int, bool, str], str]


def gluon_path(part: str, s: int, i: int, k: int, tensor: str) -> str:
    """Of one pathway; the name of the pathway goes in front."""
    at = f"res{s + 1}.{i}."
    return {
        "stem": "conv1.", "stem norm": "bn1.", "down": f"{at}downsample.0.", "down norm": f"{at}downsample.1.",
        "conv": f"{at}conv{k}.", "conv norm": f"{at}bn{k}.", "fc": "fc.",
    }[part] + tensor  # fmt: skip


def pyslowfast_fusion(s: int, norm: bool, tensor: str) -> str:
    return f"s{s}_fuse.{'bn' if norm else 'conv_f2s'}.{tensor}"


def pytorchvideo_fusion(s: int, norm: bool, tensor: str) -> str:
    return f"blocks.{s - 1}.multipathway_fusion.{'norm' if norm else 'conv_fast_to_slow'}.{tensor}"


def mmaction2_fusion(s: int, norm: bool, tensor: str) -> str:
    at = "conv1" if s == 1 else f"layer{s - 1}"
    return f"backbone.slow_path.{at}_lateral.{'bn' if norm else 'conv'}.{tensor}"


def gluon_fusion(s: int, norm: bool, tensor: str) -> str:
    return f"lateral_{'p1' if s == 1 else f'res{s}'}.{int(norm)}.{tensor}"


def caffe2_fusion(s: int, norm: bool, tensor: str) -> str:
    at = "t_pool1_subsample" if s == 1 else f"t_res{s}_{(2, 3, 5)[s - 2]}_branch2c_bn_subsample"
    return f"{at}_bn_{BLOBS[tensor]}" if norm else f"{at}_w"


def whole(name: Names) -> Names:
    """PyTorchVideo's classifier stands one block later than in a network with one pathway."""
    return lambda part, s, i, k, tensor: f"blocks.6.proj.{tensor}" if part == "fc" else name(part, s, i, k, tensor)


RELEASES: dict[str, tuple[Names, Inside, Fusion]] = {
    "pyslowfast": (pyslowfast, lambda name, path: name.replace("pathway0", f"pathway{path}"), pyslowfast_fusion),
    "pytorchvideo": (
        whole(pytorchvideo),
        lambda name, path: name[:9] + f"multipathway_blocks.{path}." + name[9:],
        pytorchvideo_fusion,
    ),
    "mmaction2": (
        mmaction2,
        lambda name, path: name.replace("backbone.", f"backbone.{'fast' if path else 'slow'}_path."),
        mmaction2_fusion,
    ),
    "gluon": (gluon_path, lambda name, path: f"{'fast' if path else 'slow'}_{name}", gluon_fusion),
    "caffe2": (caffe2, lambda name, path: f"t_{name}" if path else name, caffe2_fusion),
}


class Two:
    """A SlowFast release: its state dict and what it computes."""

    def __init__(self, kind: str, normalised: bool) -> None:
        name, inside, self.fusion = RELEASES[kind]
        self.classifier_first = kind == "mmaction2"
        self.normalised = normalised

        def of(path: int) -> Names:
            return lambda part, s, i, k, tensor: inside(name(part, s, i, k, tensor), path)

        self.slow = Release(of(0), lambda s, i: 3 if s >= 3 else 1, {})
        self.fast = Release(of(1), lambda s, i: 3, {})
        self.rest = Release(name, lambda s, i: 1, {})
        into = {1: FAST, 2: FAST * 4, 3: FAST * 8, 4: FAST * 16}
        features = self.slow.blocks(BASE, 1, lambda s, channels: channels + 2 * into[s])
        features += self.fast.blocks(FAST, 5)
        for key in self.fast:  # the second pathway's numbers are others than the first one's
            self.fast[key] = self.fast[key] * 1.1
        for s, c in into.items():
            self.rest[self.fusion(s, False, "weight")] = self.rest.random(2 * c, c, TAPS, 1, 1) * (2 / c / TAPS) ** 0.5
            for stat in STATS if normalised else ():
                value = self.rest.random(2 * c) * 0.1
                value = value.abs() + 0.7 if stat == "running_var" else value + (stat == "weight")
                self.rest[self.fusion(s, True, stat)] = value
        self.rest.classifier(features)

    def state(self) -> dict[str, Tensor]:
        return {**self.slow, **self.fast, **self.rest}

    def lateral(self, fast: Tensor, s: int) -> Tensor:
        y = F.conv3d(fast, self.rest[self.fusion(s, False, "weight")], None, (ALPHA, 1, 1), (TAPS // 2, 0, 0))
        if not self.normalised:
            return y
        w = [self.rest[self.fusion(s, True, stat)] for stat in STATS]
        return F.batch_norm(y, w[2], w[3], w[0], w[1]).relu()

    def __call__(self, x: Tensor, chosen: list[int]) -> Tensor:
        slow, fast = self.slow.stem(x[:, :, chosen]), self.fast.stem(x)
        for s in (1, 2, 3, 4):
            slow = torch.cat([slow, self.lateral(fast, s)], 1)
            slow, fast = self.slow.stage(slow, s), self.fast.stage(fast, s)
        both = [slow.mean((2, 3, 4)), fast.mean((2, 3, 4))]
        return self.rest.logits(torch.cat(both[::-1] if self.classifier_first else both, 1))


@pytest.mark.parametrize(
    ("kind", "normalised"), [(k, True) for k in RELEASES] + [("mmaction2", False)]
)  # the usual one of mmaction2 has no BatchNorm between the pathways
def test_a_release_computes_the_same(kind: str, normalised: bool) -> None:
    source = Two(kind, normalised)
    spread = kind in ("pyslowfast", "pytorchvideo", "caffe2")
    options = {"slow_frames": "spread" if spread else "strided", "fusion_norm": normalised}
    model = create_model("slowfast_50", num_classes=CLASSES, width=BASE / 64, **options).double().eval()
    state = source.state()
    report = import_weights(model, state)
    assert report.complete, report.lines()
    assert len(report.loaded) == len(state)
    assert not report.new
    x = torch.randn(2, 3, 16, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = source(x, [0, 5, 10, 15] if spread else [0, 4, 8, 12])
        torch.testing.assert_close(model(x), expected)
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    assert set(report.converted) == ({"classifier.weight"} if kind == "mmaction2" else set())
    assert not report.remarks
    other = create_model("slowfast_50", num_classes=CLASSES, width=BASE / 64, fusion_norm=normalised,
                         slow_frames="strided" if spread else "spread")  # fmt: skip
    (remark,) = import_weights(other, state).remarks
    assert f"only a network with slow_frames='{options['slow_frames']}' computes the same" in remark


def test_a_file_without_norms_between_the_pathways_says_what_to_build() -> None:
    model = create_model("slowfast_50", num_classes=CLASSES, width=BASE / 64)
    report = import_weights(model, Two("mmaction2", False).state())
    assert not report.complete
    assert all(".fuse.bn." in key for key in report.missing)
    assert any("fusion_norm=False" in remark for remark in report.remarks)


def test_another_number_of_classes_leaves_a_new_classifier_unconverted() -> None:
    model = create_model("slowfast_50", num_classes=3, width=BASE / 64, fusion_norm=False)
    report = import_weights(model, Two("mmaction2", False).state())
    assert report.complete
    assert not report.classifier
    assert not report.converted


def test_the_names_of_non_local_blocks_are_those_of_one_pathway() -> None:
    for name in ("s4.pathway0_nonlocal13.conv_theta.weight", "nonlocal_conv4_13_theta_w"):
        assert candidates(name) == ["layer3.slow.13.non_local.theta.weight"]


def test_2d_weights_have_no_place() -> None:
    assert candidates("conv1.weight") == ["conv1.weight"]
    assert candidates("layer1.0.conv1.weight") == ["layer1.0.conv1.weight"]


def test_own_names_stand_for_themselves() -> None:
    with torch.device("meta"):
        own = create_model("slowfast_nl_101", width=0.0625).state_dict()
    for key in own:
        assert candidates(key) == [key]
