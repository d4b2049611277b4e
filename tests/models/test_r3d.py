"""r3d, r(2+1)d and SRTG: counts of the papers, places of SRTG, invariants, a golden output."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.evaluation.cost import count
from kinema.models import create_model, list_models
from kinema.models.r3d_blocks import BasicBlock, Bottleneck, Conv2Plus1D, Design, middle_channels
from kinema.ops import SqueezeRecursion
from kinema.ops.conv import Conv3d
from kinema.ops.recurrence import open_rates, set_gate

SMALL = {"num_classes": 5, "frames": 8, "width": 0.0625}
NAMES = sorted(n for n in list_models() if "r3d_" in n or "r2plus1d_" in n)


def small(name: str, seed: int = 0, **options: object) -> nn.Module:
    torch.manual_seed(seed)
    return create_model(name, **{**SMALL, **options}).eval()


def clip(n: int = 2, t: int = 8, size: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, t, size, size, generator=torch.Generator().manual_seed(seed))


def test_the_names_and_what_152_layers_have() -> None:
    depths = (34, 50, 101, 152)
    kinds = ("r3d", "r2plus1d", "srtg_r3d", "srtg_r2plus1d")
    assert set(NAMES) == {f"{k}_{d}" for k in kinds for d in depths} | {"wide_r3d_50"}
    assert all(count(f"{kind}_152", size=16).params == parameters(f"{kind}_152") for kind in kinds)


def test_convolutions_over_time_alone_take_the_way_that_is_fast_with_one_thread() -> None:
    model = small("r2plus1d_50", stem_frames=5)
    over_time = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv3d) and m.kernel_size[1:] == (1, 1)}
    over_time = {n: m for n, m in over_time.items() if m.kernel_size[0] > 1}
    assert len(over_time) == 1 + 16  # the stem and a block each
    assert all(isinstance(m, Conv3d) and m._way == "time" and n.endswith(".temporal") for n, m in over_time.items())
    assert {n for n in model.state_dict() if ".temporal" in n} == {f"{n}.weight" for n in over_time}
    x = torch.randn(2, 4, 6, 5, 5)
    factors = Conv2Plus1D(4, 6, 5, (3, 3), (2, 2))
    middle = factors.relu(factors.bn(factors.spatial(x)))
    expected = F.conv3d(middle, factors.temporal.weight, None, (2, 1, 1), (1, 0, 0))
    torch.testing.assert_close(factors(x), expected)


# M parameters at 400 classes, as the papers' tables print them
PAPER = [
    ("r3d_34", 63.7),
    ("r3d_50", 36.7),
    ("r3d_101", 69.1),
    ("r2plus1d_34", 61.8),
    ("r2plus1d_50", 34.8),
    ("r2plus1d_101", 67.2),
    ("srtg_r3d_34", 83.8),
    ("srtg_r3d_50", 56.9),
    ("srtg_r3d_101", 107.1),
    ("srtg_r2plus1d_34", 82.1),
    ("srtg_r2plus1d_50", 55.0),
    ("srtg_r2plus1d_101", 105.3),
    ("wide_r3d_50", 140.9),
]


def parameters(name: str) -> int:
    """All weights of a network, added up from its description."""
    depth, widening, factorised = int(name.rsplit("_", 1)[1]), 2 if "wide" in name else 1, "2plus1d" in name

    def conv(i: int, o: int, middle: int) -> int:
        return 9 * i * middle + 2 * middle + 3 * middle * o if factorised else 27 * i * o

    total = 3 * 49 * 45 + 2 * 45 + 3 * 45 * 64 if factorised else 3 * 147 * 64
    total += 2 * 64 + 512 * 400 + 400
    i = 64
    layers = (3, 8, 36, 3) if depth == 152 else (3, 4, 23 if depth == 101 else 6, 3)
    for o, blocks in zip((64, 128, 256, 512), layers, strict=True):
        for block in range(blocks):
            inner, middle = o * widening, 27 * i * o // (9 * i + 3 * o)
            if depth == 34:
                total += conv(i, o, middle) + conv(o, o, middle) + 4 * o
            else:
                total += i * inner + conv(inner, inner, middle) + inner * o + 4 * inner + 2 * o
            if block == 0 and o > 64:
                total += i * o + 2 * o
            if "srtg" in name:
                total += 16 * o * o + 16 * o
            i = o
    return total


@pytest.mark.parametrize(("name", "millions"), PAPER)
def test_parameters_of_the_paper(name: str, millions: float) -> None:
    with torch.device("meta"):
        found = sum(p.numel() for p in create_model(name).parameters())
    assert found == parameters(name)
    assert abs(found / 1e6 / millions - 1) <= 0.003


# GMACs at 16 x 224 x 224. The paper's 52.6 and 78.0 are FLOPs (twice the MACs) of r3d-50 and r3d-101.
MACS = [
    ("r3d_34", {}, 42.65),
    ("r3d_50", {}, 26.47),
    ("r3d_101", {}, 39.13),
    ("r2plus1d_34", {}, 40.28),
    ("r2plus1d_50", {}, 24.83),
    ("r2plus1d_101", {}, 37.50),
    ("wide_r3d_50", {}, 85.37),
    ("srtg_r3d_50", {}, 26.47 + 0.031),
    ("srtg_r2plus1d_34", {}, 40.28 + 0.031),
    ("srtg_r3d_101", {}, 39.13 + 0.067),
    ("r3d_50", {"expansion": 4, "stem_frames": 7}, 79.69 / 2),
    ("r3d_101", {"expansion": 4, "stem_frames": 7}, 110.26 / 2),
    ("r3d_152", {"expansion": 4, "stem_frames": 7}, 148.03 / 2),
]


@pytest.mark.parametrize(("name", "options", "gmacs"), MACS)
def test_macs(name: str, options: dict, gmacs: float) -> None:
    cost = count(name, options=options)
    assert (cost.frames, cost.size) == (16, 224)
    assert abs(cost.macs / 1e9 - gmacs) <= 0.006
    if name in ("r3d_50", "r3d_101") and not options:
        assert abs(cost.flops / 1e9 / {"r3d_50": 52.6, "r3d_101": 78.0}[name] - 1) <= 0.01


# Other releases, M parameters (400 classes)
RELEASES = [
    ("r3d_34", {"stem_frames": 7}, 63.72),
    ("r3d_50", {"stem_frames": 7, "expansion": 4}, 47.02),
    ("r3d_101", {"stem_frames": 7, "expansion": 4}, 86.07),
    ("r3d_152", {"stem_frames": 7, "expansion": 4}, 118.22),
    ("r3d_50", {"stem_frames": 7, "expansion": 2, "width": 2}, 158.34),  # its wide network
    ("r2plus1d_152", {"middle": "convolution", "expansion": 4}, 118.24),  # 118.0 without BatchNorm in VMZ's zoo
    ("r2plus1d_50", {"middle": "convolution"}, 36.74),
]


@pytest.mark.parametrize(("name", "options", "millions"), RELEASES)
def test_parameters_of_other_releases(name: str, options: dict, millions: float) -> None:
    with torch.device("meta"):
        model = create_model(name, **options)
    assert abs(sum(p.numel() for p in model.parameters()) / 1e6 - millions) <= 0.01


def test_recurrence_costs_the_same_at_any_size() -> None:
    extra = []
    for size in (112, 256):
        plain, with_srtg = (count(name, size=size).macs for name in ("r2plus1d_50", "srtg_r2plus1d_50"))
        extra.append(with_srtg - plain)
    assert extra[0] == extra[1]


def test_middle_channels_keep_the_weights_of_the_full_kernel() -> None:
    for c, o in ((64, 64), (64, 128), (512, 512)):
        m = middle_channels(c, o)
        assert 0 <= 27 * c * o - (9 * c * m + 3 * m * o) < 9 * c + 3 * o


# ---- the blocks


class Double(nn.Module):
    """Stands in for SRTG, which it marks by a factor and a shift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] == self.channels
        return 2 * x + 1


def design(placement: str | None, recursion: Callable | None, **changes: object) -> Design:
    given: dict = {
        "depth": 50, "factorised": False, "middle": "block", "expansion": 1, "widening": 1, "shortcut": "B",
        "stem_frames": 3, "max_pool": True, "placement": placement, "recursion": recursion,
    }  # fmt: skip
    return Design(**{**given, **changes})


@pytest.mark.parametrize("factorised", [False, True])
@pytest.mark.parametrize(
    "shape", [(4, 1), (6, 2), (8, 1)]
)  # channels in, stride: identity, projection with and without
@pytest.mark.parametrize("placement", ["start", "top", "mid", "end", "res", "final"])
def test_places_in_a_bottleneck(placement: str, shape: tuple[int, int], factorised: bool) -> None:
    channels, stride = shape
    made = design(placement, Double, expansion=2, widening=3, factorised=factorised)
    block = Bottleneck(channels, 4, (stride, stride), made).eval()
    x = torch.randn(2, channels, 4, 6, 6)

    def mark(place: str, y: Tensor) -> Tensor:
        return 2 * y + 1 if place == placement else y

    at_start = mark("start", x)
    y = mark("top", torch.relu(block.bn1(block.conv1(at_start))))
    y = mark("mid", torch.relu(block.bn2(block.conv2(y))))
    y = mark("end", block.bn3(block.conv3(y)))
    shortcut = block.downsample(at_start) if block.downsample else at_start
    expected = mark("final", torch.relu(y + mark("res", shortcut)))
    torch.testing.assert_close(block(x.clone()), expected)
    assert block(x).shape == (2, 8, 4 // stride, 6 // stride, 6 // stride)
    assert block.srtg.channels == {"start": channels, "top": 12, "mid": 12}.get(placement, 8)


@pytest.mark.parametrize("factorised", [False, True])
@pytest.mark.parametrize("shape", [(8, 1), (6, 2), (6, 1)])
@pytest.mark.parametrize("placement", ["start", "mid", "res", "final"])
def test_places_in_a_simple_block(placement: str, shape: tuple[int, int], factorised: bool) -> None:
    channels, stride = shape
    block = BasicBlock(channels, 8, (stride, stride), design(placement, Double, depth=34, factorised=factorised)).eval()
    x = torch.randn(2, channels, 4, 6, 6)

    def mark(place: str, y: Tensor) -> Tensor:
        return 2 * y + 1 if place == placement else y

    at_start = mark("start", x)
    y = block.bn2(block.conv2(mark("mid", torch.relu(block.bn1(block.conv1(at_start))))))
    shortcut = block.downsample(at_start) if block.downsample else at_start
    expected = mark("final", torch.relu(y + mark("res", shortcut)))
    torch.testing.assert_close(block(x.clone()), expected)
    assert block.srtg.channels == (channels if placement == "start" else 8)


def test_shortcut_a_has_nothing_to_learn() -> None:
    block = BasicBlock(4, 6, (2, 2), design(None, None, depth=34, shortcut="A"))
    assert not list(block.downsample.parameters())
    x = torch.randn(1, 4, 5, 7, 7)
    expected = torch.zeros(1, 6, 3, 4, 4)
    expected[:, :4] = x[:, :, ::2, ::2, ::2]
    assert torch.equal(block.downsample(x), expected)


# ---- whole networks


def reach(model: nn.Module, x: Tensor) -> None:
    model.train()(x).square().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
        assert p.grad.any(), name


# 32 frames: the last stage has two, one would leave the state-to-state kernels without a gradient.
@pytest.mark.parametrize("placement", ["start", "top", "mid", "end", "res", "final"])
def test_every_cell_learns_in_bottlenecks(placement: str) -> None:
    name = "srtg_r2plus1d_50" if placement == "top" else "srtg_r3d_50"
    model = create_model(name, **SMALL, placement=placement, expansion=2, widening=2, gate="hard")
    assert set_gate(model, open=True) == 16
    reach(model, clip(t=32))


@pytest.mark.parametrize("placement", ["start", "mid", "res", "final"])
def test_every_cell_learns_in_simple_blocks(placement: str) -> None:
    name = "srtg_r2plus1d_34" if placement == "mid" else "srtg_r3d_34"
    reach(create_model(name, **SMALL, placement=placement, gate="none"), clip(t=32))


@pytest.mark.parametrize("cell", ["rnn", "peephole", "gru"])
def test_every_other_cell_learns(cell: str) -> None:
    reach(create_model("srtg_r3d_34", **SMALL, cell=cell, layers=1, fusion="add", gate="none"), clip(t=32))


def test_with_closed_gates_it_is_the_plain_network_bit_for_bit() -> None:
    plain, gated = small("r3d_34"), small("srtg_r3d_34", seed=1, gate="hard", compare="state")
    assert not gated.load_state_dict(plain.state_dict(), strict=False).unexpected_keys
    x = clip(t=32)
    assert torch.equal(gated(x), plain(x))
    assert set(open_rates(gated).values()) == {0.0} and len(open_rates(gated)) == 16

    ungated = small("srtg_r3d_34", gate="none")
    ungated.load_state_dict(gated.state_dict())
    set_gate(gated, open=True)
    assert torch.equal(gated(x), ungated(x))
    assert not torch.allclose(gated(x), plain(x))


def test_a_single_frame_never_opens_a_gate() -> None:
    model = small("srtg_r3d_34", gate="hard", fusion="residual", compare="fused", temperature=1e-9)
    model(clip(t=8) * torch.arange(8)[:, None, None])  # 4, 4, 2, 1 and 1 frames, which differ much
    rates = open_rates(model)
    assert len(rates) == 16
    assert all(rate == 0.0 for name, rate in rates.items() if name.startswith(("layer3", "layer4")))
    assert any(rate > 0.0 for name, rate in rates.items() if name.startswith(("layer1", "layer2")))


def test_the_gate_is_told_its_options() -> None:
    model = small(
        "srtg_r3d_50", gate="hard", temperature=0.25, fusion="add", compare="fused", cell="gru", layers=1
    )  # fmt: skip
    found = [m for m in model.modules() if isinstance(m, SqueezeRecursion)]
    assert len(found) == 16
    assert {(m.gate, m.temperature, m.fusion, m.compare) for m in found} == {("hard", 0.25, "add", "fused")}
    assert all(isinstance(m.recurrence.cell, nn.GRU) and m.recurrence.cell.num_layers == 1 for m in found)


def test_what_srtg_is_by_default() -> None:
    model = small("srtg_r3d_34")
    found = [m for m in model.modules() if isinstance(m, SqueezeRecursion)]
    assert {(m.gate, m.fusion, m.compare) for m in found} == {("hard", "residual", "fused")}
    assert model.recurrence_rate == 0.1 and not model.trunk_product
    assert small("r3d_34").recurrence_rate == small("mtnet_s").recurrence_rate == 1.0
    assert small("srtg_r3d_34", fusion="mul").trunk_product
    assert not small("srtg_r3d_34", fusion="mul", placement="res").trunk_product
    operator = SqueezeRecursion(4)
    assert (operator.gate, operator.fusion, operator.compare) == ("none", "mul", "state")  # the equation's


def test_as_a_network_of_the_release_it_multiplies_by_the_states() -> None:
    model = small("srtg_r3d_34", gate="none", fusion="mul", max_pool=False)
    reached = {}
    for name, module in model.named_modules():
        if isinstance(module, SqueezeRecursion):
            module.register_forward_hook(lambda m, given, out, name=name: reached.update({name: (m, given[0], out)}))
    model(clip(t=32))
    assert len(reached) == 16
    for module, x, y in reached.values():
        states = module.recurrence(x.mean((3, 4)))
        torch.testing.assert_close(y, x * states[..., None, None])


def test_without_max_pooling_the_stem_keeps_time() -> None:
    assert small("r2plus1d_34", max_pool=False).stem(clip()).shape == (2, 4, 8, 16, 16)


def test_golden_output() -> None:
    """A fixed network on a fixed clip: what it gave when it was built and checked."""
    model = create_model("srtg_r2plus1d_34", **{**SMALL, "frames": 16}, gate="none", fusion="mul").double().eval()
    for i, p in enumerate(model.parameters()):
        with torch.no_grad():
            p.copy_(torch.sin(torch.arange(p.numel(), dtype=torch.float64) * 0.7 + i).view(p.shape))
    x = torch.cos(torch.arange(3 * 16 * 32 * 32, dtype=torch.float64) * 0.01).view(1, 3, 16, 32, 32)
    with torch.no_grad():
        found = model(x)[0]
    # These weights amplify: a relative change of the clip by 1e-15 moves the result by 1e-7.
    torch.testing.assert_close(found, GOLDEN, rtol=1e-8, atol=1e-7)


GOLDEN = torch.tensor(
    [26.914977675503, -25.847194577898, 18.761087571261, -11.775072137504, -0.278308675223], dtype=torch.float64
)


# ---- bad input


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("srtg_r3d_34", {"placement": "top"}, "unknown placement in a simple block (depth 34) 'top'"),
        ("srtg_r2plus1d_34", {"placement": "end"}, "unknown placement in a simple block (depth 34) 'end'"),
        (
            "srtg_r3d_50",
            {"placement": "finall"},
            "unknown value of placement 'finall': did you mean 'final'?",
        ),
        ("srtg_r3d_50", {"cell": "lstn"}, "unknown value of cell 'lstn': did you mean 'lstm'?"),
        ("srtg_r3d_50", {"gate": "soft"}, "unknown value of gate 'soft'"),
        ("r3d_50", {"gate": "hard"}, "unknown option of r3d_50 'gate'"),
        ("r3d_34", {"expansion": 4}, "unknown option of r3d_34 'expansion'"),
        ("r3d_50", {"middle": "block"}, "unknown option of r3d_50 'middle'"),
        ("r3d_50", {"shortcut": "C"}, "unknown value of shortcut 'C'; choose from A, B"),
        ("r2plus1d_50", {"middle": "blok"}, "unknown value of middle 'blok': did you mean 'block'?"),
        ("r3d_50", {"expansion": 0}, "expansion is 0: give "),
        ("r3d_50", {"stem_frames": 4}, "stem_frames is 4: give "),
    ],
)
def test_bad_options_are_one_sentence(name: str, options: dict, says: str) -> None:
    with pytest.raises(KinemaError) as caught:
        create_model(name, **options)
    assert str(caught.value).startswith(says)


def ends(name: str, **options: float) -> set[float]:
    """Weights of the last BatchNorm of all blocks."""
    model = create_model(name, num_classes=4, width=0.125, **options)
    last = "bn3" if name.endswith("_50") else "bn2"
    return {float(w) for n, m in model.named_modules() if n.endswith(f".{last}") for w in m.weight.detach()}


def test_blocks_start_near_the_identity_where_that_is_asked_for() -> None:
    assert ends("r3d_34") == {1.0} == ends("r2plus1d_50")
    assert ends("srtg_r3d_34") == {float(torch.tensor(0.3))} == ends("srtg_r2plus1d_50")
    assert ends("r3d_50", residual_init=0.5) == {0.5}
    with pytest.raises(KinemaError, match="residual_init is 2"):
        create_model("r3d_34", residual_init=2)
