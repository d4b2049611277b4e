"""MTNet and the MTConv ResNet-50: the complexity tables of the paper, invariants, golden outputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kinema.errors import KinemaError
from kinema.evaluation.cost import count
from kinema.models import create_model
from kinema.models.mtnet import MTBlock
from kinema.models.video_model import VideoModel
from kinema.ops.mtconv import ConvNorm

SMALL = {"num_classes": 5, "frames": 8, "width": 0.25}
MAPS = ["stem", "layer1", "layer2", "layer3", "layer4"]


def small(name: str, seed: int = 0, **options: object) -> VideoModel:
    torch.manual_seed(seed)
    return create_model(name, **{**SMALL, **options}).eval()


def parameters(name: str, **options: object) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in create_model(name, **options).parameters())


def clip(n: int = 2, t: int = 8, size: int = 48, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, t, size, size, generator=torch.Generator().manual_seed(seed))


# Table VIa: delta, then G and M parameters as printed, then ours. The printed G are multiply-adds.
TABLE_M = [
    (1, 10.8, 29.7, 11.572, 29.938),
    (7 / 8, 8.8, 25.8, 8.998, 25.060),
    (3 / 4, 6.7, 21.8, 6.838, 21.581),
    (5 / 8, 4.8, 19.3, 5.049, 19.493),
    (1 / 2, 3.6, 18.6, 3.697, 18.799),
    (3 / 8, 2.6, 19.2, 2.684, 19.499),
    (1 / 4, 2.1, 21.0, 2.070, 21.591),
]


@pytest.mark.parametrize(("delta", "gmacs", "mparams", "own_gmacs", "own_mparams"), TABLE_M)
def test_table_of_delta(delta: float, gmacs: float, mparams: float, own_gmacs: float, own_mparams: float) -> None:
    cost = count("mtnet_m_table", options={"delta": delta})
    assert abs(cost.macs / 1e9 - own_gmacs) <= 0.001
    assert abs(cost.params / 1e6 - own_mparams) <= 0.001
    assert abs(cost.macs / 1e9 / gmacs - 1) <= 0.08
    assert abs(cost.params / 1e6 / mparams - 1) <= 0.04


@pytest.mark.parametrize(
    ("delta", "gmacs", "own_gmacs", "own_mparams"), [(7 / 8, 17.6, 17.420, 52.344), (1 / 4, 4.1, 3.808, 44.799)]
)
def test_large_table(delta: float, gmacs: float, own_gmacs: float, own_mparams: float) -> None:
    """Its parameters are impossible as printed: L and M differ by 24 M whatever delta is, though L only adds blocks."""
    cost = count("mtnet_l_table", options={"delta": delta})
    assert abs(cost.macs / 1e9 - own_gmacs) <= 0.001
    assert abs(cost.params / 1e6 - own_mparams) <= 0.001
    assert abs(cost.macs / 1e9 / gmacs - 1) <= 0.08


# What the other readings cost: name, options, G multiply-adds, M parameters.
READINGS = [
    ("mtnet_m", {}, 5.794, 8.594),
    ("mtnet_m", {"block": "dense"}, 124.334, 59.369),
    ("mtnet_s_table", {}, 4.083, 25.060),
    ("mtconv_r50", {}, 24.331, 37.140),
    ("mtconv_r50", {"split": "octave", "layers": 1}, 21.698, 36.768),
]


@pytest.mark.parametrize(("name", "options", "gmacs", "mparams"), READINGS)
def test_readings(name: str, options: dict, gmacs: float, mparams: float) -> None:
    cost = count(name, options=options)
    assert abs(cost.macs / 1e9 - gmacs) <= 0.001
    assert abs(cost.params / 1e6 - mparams) <= 0.001


def test_mtconv_r50_is_within_5_percent_of_table_ii() -> None:
    cost = count("mtconv_r50")
    assert abs(cost.params / 1e6 / 35.7 - 1) <= 0.045
    assert abs(cost.macs / 1e9 / 23.1 - 1) <= 0.055
    assert parameters("mtconv_r50", delta=1) == parameters("r3d_50")


def test_cells_differ_as_table_vib_says_for_one_layer() -> None:
    """LSTM - GRU = 0.7 M and GRU - RNN = 1.5 M: the sums of squares of the channels, twice and four times."""
    found = {cell: parameters("mtnet_m_table", cell=cell, layers=1) for cell in ("rnn", "gru", "lstm", "peephole")}
    channels = [24] * 3 + [48] * 5 + [96] * 11 + [192] * 7
    squares, linear = sum(c * c for c in channels), sum(channels)
    assert found["gru"] - found["rnn"] == 4 * squares + 4 * linear
    assert found["lstm"] - found["gru"] == 2 * squares + 2 * linear
    assert found["peephole"] - found["lstm"] == 3 * linear
    assert round(4 * squares / 1e6, 1) == 1.5
    assert round(2 * squares / 1e6, 1) == 0.7


def test_the_stem_of_table_6_1b_lacks_a_temporal_convolution() -> None:
    for name, frames, side in (("mtnet_s", 13, 91), ("mtnet_m", 16, 128), ("mtnet_l", 16, 128)):
        x3d, spatial = count(name), count(name, options={"stem": "spatial"})
        assert x3d.params - spatial.params == 24 * 5
        assert x3d.macs - spatial.macs == 24 * 5 * frames * side * side
    stem, x = small("mtnet_m", stem="spatial").stem, clip()
    torch.testing.assert_close(stem(x)[:, :, :1], stem(x[:, :, :1]))  # no frame sees another
    assert [name for name, _ in stem.named_parameters()] == ["spatial.weight", "norm.weight", "norm.bias"]
    with pytest.raises(KinemaError, match="stem"):
        create_model("mtnet_m", stem="1x3x3")


def test_what_the_networks_are_meant_for() -> None:
    for suffix in ("", "_table"):
        specs = [create_model(f"mtnet_{size}{suffix}", width=0.1).clip_spec for size in "sml"]
        assert [(s.frames, s.crop, s.sampler) for s in specs] == [
            (13, 182, "normal"), (16, 256, "normal"), (16, 256, "normal"),
        ]  # fmt: skip
    model = create_model("mtnet_l", width=0.1)
    assert [len(getattr(model, name)) for name in MAPS[1:]] == [5, 10, 25, 15]


def test_recursion_sees_the_whole_block_and_ends_before_the_sum() -> None:
    model, x = small("mtnet_m"), clip()
    block = model.layer1[1]
    y = model.layer1[0](model.stem(x))
    branch = block.convs(y)
    h = block.recursion.recurrence(branch.mean((3, 4)))
    torch.testing.assert_close(block(y), (branch * h[..., None, None] + y).relu())
    assert small("mtnet_m", layers=0).layer1[1](y).shape == y.shape
    assert not [name for name, _ in small("mtnet_m", layers=0).named_parameters() if "recur" in name]


def test_the_relu_of_the_last_convolution_stands_where_it_is_told_to() -> None:
    for name, before in (("mtconv_r50", False), ("mtnet_m", True)):
        for options, expected in (({}, before), ({"relu_before_sum": True}, True), ({"relu_before_sum": False}, False)):
            model, x = small(name, **options), clip()
            branch = model.layer1[0].convs(model.stem(x))
            assert bool((branch >= 0).all()) is expected


def test_what_starts_quietly() -> None:
    """Prolonged branches everywhere, and the ends of blocks that no recursion follows."""

    def start(branch: ConvNorm) -> float:
        (value,) = set(branch.norm.weight.tolist())
        return round(value, 6)

    for name, end in (("mtconv_r50", 0.3), ("mtnet_m", 1.0)):
        model = small(name)
        blocks = [m for m in model.modules() if isinstance(m, MTBlock)]
        assert blocks
        for block in blocks:
            assert [start(conv.local) for conv in block.convs] == [1.0, 1.0, end]
            assert {start(branch) for conv in block.convs for branch in (conv.prolonged, conv.lateral)} == {0.1}


def test_the_order_of_frames_matters() -> None:
    for name in ("mtnet_m", "mtnet_m_table"):
        model, x = small(name).train(), clip()
        assert (model(x) - model(x.flip(2))).abs().max() > 1e-4


def golden(name: str, frames: int = 4) -> Tensor:
    """A fixed network on a fixed clip."""
    options = {"relu_before_sum": True} if name == "mtconv_r50" else {}
    model = create_model(name, num_classes=5, frames=frames, width=0.25, **options).eval()
    for i, p in enumerate(model.parameters()):
        with torch.no_grad():
            wave = torch.sin(torch.arange(p.numel(), dtype=torch.float64) * 0.7 + i).view(p.shape)
            p.copy_(wave * (0.3 if p.ndim == 1 else 0.1) + (p.ndim == 1))
    x = torch.cos(torch.arange(3 * frames * 32 * 32, dtype=torch.float64) * 0.01).view(1, 3, frames, 32, 32)
    with torch.no_grad():
        return model.double()(x)[0]


GOLDEN = {
    "mtconv_r50": [-3.765711437, -2.145962565, 5.975335732, 3.647637605, -3.900133085],
    "mtnet_m": [1.378583489, 1.412367751, 1.300456238, 1.094967810, 0.888862568],
    "mtnet_m_table": [1.324560038, 1.133841342, 0.901518329, 0.725874959, 0.677849741],
}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_golden_output(name: str) -> None:
    """What it gave when it was built and checked."""
    torch.testing.assert_close(golden(name), torch.tensor(GOLDEN[name], dtype=torch.float64), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"delta": 0}, "above 0 and at most 1"),
        ({"delta": 0.1, "width": 0.1}, "raise delta or width"),
        ({"split": "texts"}, "did you mean 'text'"),
        ({"pooling": "cosine"}, "did you mean 'average\\+cosine'|did you mean 'softpool\\+cosine'"),
        ({"cell": "grus"}, "did you mean 'gru'"),
        ({"layers": -1}, "layers is -1: give "),
        ({"block": "channel"}, "did you mean 'channelwise'"),
        ({"frames": 0}, "at least 1"),
    ],
)
def test_bad_options_are_one_sentence(options: dict, sentence: str) -> None:
    with pytest.raises(KinemaError, match=sentence):
        create_model("mtnet_m", **options)


def test_the_presets_fix_what_they_stand_for() -> None:
    with pytest.raises(KinemaError, match="unknown option of mtnet_m_table 'split'"):
        create_model("mtnet_m_table", split="text")
