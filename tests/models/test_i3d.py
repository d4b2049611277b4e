"""R2D, I3D and SlowOnly, plain and with non-local blocks: counts, places, invariants, golden outputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kinema.errors import KinemaError
from kinema.evaluation.cost import count
from kinema.models import create_model
from kinema.models.i3d_blocks import Bottleneck, Stage
from kinema.models.video_model import VideoModel
from kinema.ops import NonLocal
from kinema.weights.importing import import_weights

NAMES = ["r2d_50", "r2d_101", "r2d_nl_50", "i3d_50", "i3d_101", "i3d_nl_50", "slowonly_50", "slowonly_101"]
SMALL = {"num_classes": 5, "width": 0.0625}


def small(name: str, **options: object) -> VideoModel:
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


def clip(n: int = 2, t: int = 8, size: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, t, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- counts


# PyTorchVideo's model zoo at 256 pixels, 400 classes: G and M. Some of its figures count five operations for each
# output of a BatchNorm, others none.
@pytest.mark.parametrize(
    ("name", "options", "frames", "gmacs", "per_norm", "millions"),
    [
        ("r2d_50", {"pool2": True}, 8, 25.89, 5, 24.33),
        ("i3d_50", {"pool2": True, "stem_stride": 1}, 8, 37.53, 5, 28.04),
        ("slowonly_50", {}, 4, 27.55, 5, 32.45),
        ("slowonly_50", {}, 8, 54.52, 0, 32.45),
    ],
)
def test_counts_of_the_public_zoo(
    name: str, options: dict, frames: int, gmacs: float, per_norm: int, millions: float
) -> None:
    cost = count(name, frames=frames, size=256, options=options)
    assert abs((cost.macs + per_norm * cost.normalised) / 1e9 - gmacs) <= 0.006
    assert abs(cost.params / 1e6 - millions) <= 0.006


# CIDC, table 1 (256 pixels): the operations that the paper prints, ours, and parameters of ours.
@pytest.mark.parametrize(
    ("name", "frames", "paper", "gmacs", "millions"),
    [("r2d_50", 8, 42, 42.707, 24.328), ("i3d_50", 32, 65, 64.811, 28.043)],
)
def test_counts_of_the_cidc_paper(name: str, frames: int, paper: float, gmacs: float, millions: float) -> None:
    cost = count(name, size=256)
    assert cost.frames == frames
    assert abs(cost.macs / 1e9 - gmacs) <= 0.001
    assert abs(cost.macs / 1e9 / paper - 1) <= 0.02
    assert abs(cost.params / 1e6 - millions) <= 0.001


def convolutions(name: str, size: int, **options: object) -> float:
    """GMACs of convolutions and the classifier alone, without the products of attention."""
    with torch.device("meta"):
        model = create_model(name, **options).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.empty(1, 3, model.clip_spec.frames, size, size))
    counted = counter.get_flop_counts()["Global"]
    return sum(flops for op, flops in counted.items() if op in (torch.ops.aten.convolution, torch.ops.aten.addmm)) / 2e9


def test_counts_of_non_local_networks() -> None:
    """The paper's 64 G of R2D-NL are convolutions alone."""
    assert abs(convolutions("r2d_nl_50", 256) - 64.18) <= 0.006
    assert abs(convolutions("i3d_nl_50", 256) - 86.29) <= 0.006
    cost = count("r2d_nl_50", size=256, options={"sub_sample": "before"})
    assert abs(cost.macs / 1e9 - 76.53) <= 0.006  # all of it
    assert abs(cost.params / 1e6 - 31.69) <= 0.006
    assert abs(count("i3d_nl_50", size=64, options={"nl": "nl10"}).params / 1e6 - 42.76) <= 0.006
    # positions 8 * 32^2 and 8 * 16^2 against a quarter of them, 256 and 512 channels, two products
    extra = count("r2d_nl_50", size=256).macs / 1e9 - convolutions("r2d_nl_50", 256)
    products = 2 * (2 * 8192 * 2048 * 256 + 3 * 2048 * 512 * 512) / 1e9
    assert abs(extra - products) <= 0.001


# ---- what is where


@pytest.mark.parametrize(
    ("name", "stem", "kernel_size"),
    [
        ("r2d_50", 1, ["111", "1111", "111111", "111"]),
        ("i3d_50", 5, ["333", "3131", "313131", "131"]),
        ("i3d_101", 5, ["333", "3131", "31313131313131313131313", "131"]),
        ("slowonly_50", 1, ["111", "1111", "333333", "333"]),
    ],
)
def test_which_convolutions_see_time(name: str, stem: int, kernel_size: list[str]) -> None:
    model = create_model(name, **SMALL)
    assert model.stem.conv.weight.shape[2:] == (stem, 7, 7)
    for layer, expected in zip(model.feature_maps[1:], kernel_size, strict=True):
        blocks = list(model.get_submodule(layer))
        assert "".join(str(block.conv1.weight.shape[2]) for block in blocks) == expected
        assert all(block.conv2.weight.shape[2:] == (1, 3, 3) for block in blocks)
        assert all(block.conv3.weight.shape[2:] == (1, 1, 1) for block in blocks)


def test_where_non_local_blocks_stand() -> None:
    for nl, expected in (
        ("nl5", ["layer2.1", "layer2.3", "layer3.1", "layer3.3", "layer3.5"]),
        ("nl10", [f"layer2.{i}" for i in range(4)] + [f"layer3.{i}" for i in range(6)]),
    ):
        model = create_model("i3d_nl_50", **SMALL, nl=nl, attention="gaussian", sub_sample="none", scaled=True)
        found = {name: m for name, m in model.named_modules() if isinstance(m, NonLocal)}
        assert list(found) == [f"{name}.non_local" for name in expected]
        assert {(m.attention, m.sub_sample, m.scaled) for m in found.values()} == {("gaussian", "none", True)}


def test_a_block_is_its_steps() -> None:
    for channels, stride, kernel_size in ((16, 1, 3), (8, 2, 1)):
        block = Bottleneck(channels, 4, stride, kernel_size, nn.Softplus()).double().eval()
        x = clip(2, 5, 7)[:, :1].expand(-1, channels, -1, -1, -1).contiguous()
        f = nn.functional
        y = block.bn1(f.conv3d(x, block.conv1.weight, padding=(kernel_size // 2, 0, 0))).relu()
        y = block.bn2(f.conv3d(y, block.conv2.weight, stride=(1, stride, stride), padding=(0, 1, 1))).relu()
        y = block.bn3(f.conv3d(y, block.conv3.weight))
        shortcut = x
        if block.downsample is not None:
            conv, bn = block.downsample
            shortcut = bn(f.conv3d(x, conv.weight, stride=(1, stride, stride)))
        torch.testing.assert_close(block(x), f.softplus((y + shortcut).relu()))
        assert (block.downsample is None) == (channels == 16)


def test_the_stem_is_convolution_and_frame_wise_pooling() -> None:
    for name, frames in (("i3d_50", 13), ("r2d_50", 5)):
        model = small(name)
        x, stem = clip(1, frames, 21), model.stem
        kernel_size, step = stem.conv.weight.shape[2], 2 if name == "i3d_50" else 1
        y = nn.functional.conv3d(x, stem.conv.weight, None, (step, 2, 2), (kernel_size // 2, 3, 3))
        y = nn.functional.max_pool3d(stem.bn(y).relu(), (1, 3, 3), (step, 2, 2), (0, 1, 1))
        torch.testing.assert_close(stem(x), y)


def test_pool2_is_the_maximum_of_two_frames() -> None:
    x = clip(2, 7, 4)
    stage = Stage(halve_time=True)
    assert torch.equal(stage(x), nn.functional.max_pool3d(x, (2, 1, 1)))
    assert torch.equal(stage(x[:, :, :1]), x[:, :, :1])
    model = create_model("i3d_50", **SMALL, pool2=True).double()
    assert [model.get_submodule(f"layer{i}").halve_time for i in (1, 2, 3, 4)] == [True, False, False, False]
    assert model.forward_features(clip(t=32)).shape[2] == 4
    assert create_model("i3d_50", **SMALL, stem_stride=1).clip_spec.frames == 8


# ---- whole networks


@pytest.mark.parametrize("name", NAMES)
def test_what_the_networks_are_meant_for(name: str) -> None:
    spec = create_model(name, **SMALL).clip_spec
    assert (spec.frames, spec.stride) == ((32, 2) if "i3d" in name else (8, 8))


@pytest.mark.parametrize("name", ["r2d_50", "r2d_nl_50"])
def test_r2d_does_not_know_the_order_of_frames(name: str) -> None:
    model, x = small(name), clip()
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model(x[:, :, order]), model(x))
    assert (model(x)[0] - model(x)[1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["i3d_50", "slowonly_50"])
def test_the_others_know_it(name: str) -> None:
    model, x = small(name), clip(t=32)
    assert (model(x.flip(2)) - model(x)).abs().max() > 1e-4


def test_r2d_sees_each_frame_by_itself_and_is_tsn() -> None:
    model, x = small("r2d_50"), clip()
    other = x.clone()
    other[:, :, 3] += 1
    same = [torch.equal(a, b) for a, b in zip(*(model.forward_features(z).unbind(2) for z in (x, other)), strict=True)]
    assert same == [True] * 3 + [False] + [True] * 4
    tsn = create_model("tsn_r50", **SMALL).double().eval()
    flat = {k: v.squeeze(2) if v.ndim == 5 else v for k, v in model.state_dict().items()}
    tsn.load_state_dict({k: flat[k] for k in tsn.state_dict()})
    torch.testing.assert_close(model(x), tsn(x))


@pytest.mark.parametrize("name", ["r2d_nl_50", "i3d_nl_50"])
@pytest.mark.parametrize("attention", ["embedded_gaussian", "gaussian", "dot_product"])
def test_new_non_local_blocks_change_nothing(name: str, attention: str) -> None:
    plain = small(name.replace("_nl", ""))
    model = create_model(name, **SMALL, attention=attention).double().eval()
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all(".non_local." in key for key in missing)
    x = clip(t=16)
    assert torch.equal(model(x), plain(x))


def test_attention_brings_distant_frames_together() -> None:
    """With it, every step of R2D's last stage depends on every frame."""
    for name, expected in (("r2d_50", 1), ("r2d_nl_50", 8)):
        model, x = small(name), clip().requires_grad_()
        (gradient,) = torch.autograd.grad(model.forward_features(x)[:, :, 2].sum(), x)
        assert int(gradient.abs().amax((0, 1, 3, 4)).gt(0).sum()) == expected


def test_golden_output() -> None:
    """Fixed networks on a fixed clip: what they gave when they were built and checked."""
    x = torch.cos(torch.arange(3 * 16 * 32 * 32, dtype=torch.float64) * 0.01).view(1, 3, 16, 32, 32)
    for name, expected in GOLDEN.items():
        model = create_model(name, num_classes=3, width=0.0625).double().eval()
        with torch.no_grad():
            for i, p in enumerate(model.parameters()):
                values = torch.sin(torch.arange(p.numel(), dtype=torch.float64) * 0.7 + i).view(p.shape)
                p.copy_(values / p[0].numel() ** 0.5 if p.ndim > 1 else 0.6 + 0.3 * values)
            found = model(x)[0]
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-8, atol=1e-10)


GOLDEN = {
    "r2d_nl_50": [1.26840517691, -1.39494722695, 0.0838594877032],
    "i3d_50": [0.923723048944, -1.36119617472, 0.300263404221],
    "i3d_nl_50": [1.23842881732, -1.2622675107, 0.0967030663875],
    "slowonly_50": [0.947247631565, -1.30829048454, 0.269907169983],
}


def test_weights_of_the_same_network_are_its_own() -> None:
    model = small("i3d_nl_50")
    report = import_weights(create_model("i3d_nl_50", **SMALL), model.state_dict())
    assert report.complete
    assert not report.converted
    assert not report.new


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("i3d_50", {"stem_stride": 4}, "stem_stride is 4: give "),
        ("i3d_50", {"stem_stride": True}, "stem_stride is True"),
        ("r2d_50", {"stem_stride": 2}, "unknown option of r2d_50 'stem_stride'"),
        ("slowonly_50", {"pool2": True}, "unknown option of slowonly_50 'pool2'"),
        ("i3d_50", {"pool2": 1}, "pool2 is 1: give "),
        ("i3d_50", {"nl": "nl5"}, "unknown option of i3d_50 'nl'"),
        ("i3d_nl_50", {"nl": "nl7"}, "unknown value of nl 'nl7'; choose from nl10, nl5"),
        ("r2d_nl_50", {"attention": "dot"}, "unknown value of attention 'dot'"),
        ("r2d_nl_50", {"attention": "dot_product", "scaled": True}, "NonLocal: scaled is True"),
    ],
)
def test_bad_options_are_one_sentence(name: str, options: dict, says: str) -> None:
    with pytest.raises(KinemaError) as caught:
        create_model(name, **options)
    assert str(caught.value).startswith(says)
