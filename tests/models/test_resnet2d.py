"""TSN, TSM and STM: counts of the paper, invariants, golden outputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.evaluation.cost import count
from kinema.models import create_model, list_models

SMALL = {"num_classes": 5, "frames": 4, "width": 0.125}


def small(name: str, seed: int = 0, **options: object) -> nn.Module:
    torch.manual_seed(seed)
    return create_model(name, **{**SMALL, **options}).eval()


def clip(n: int = 2, t: int = 4, size: int = 48, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, t, size, size, generator=torch.Generator().manual_seed(seed))


def wake(model: nn.Module) -> nn.Module:
    """Random values where the start is zero or the identity, so that every path matters."""
    generator = torch.Generator().manual_seed(7)
    for name, p in model.named_parameters():
        if ".cmm." in name or name.endswith(".t.weight"):
            with torch.no_grad():
                p.add_(0.3 * torch.randn(p.shape, generator=generator))
    return model


# (model, options, frames, GMACs of convolutions and linear layers, M parameters, classes), as derived from the paper
COUNTS = [
    ("tsn_r50", {}, 8, 32.700, 23.865, 174),
    ("tsm_r50", {}, 8, 32.704, 24.328, 400),
    ("stm_r50", {}, 8, 33.018, 24.036, 174),
    ("stm_r50", {}, 16, 66.035, 24.036, 174),
    ("stm_r50", {"stride_at": "reduce"}, 8, 32.957, 24.036, 174),
    ("stm_r50", {"reduction": 8}, 8, 33.290, 24.195, 174),
    ("stm_r18", {}, 8, 14.629, 11.331, 174),
    ("stm_r18", {"replace": "both"}, 8, 14.753, 11.425, 174),
    ("stm_r34", {}, 8, 29.547, 21.517, 174),
    ("stm_r34", {"replace": "both"}, 8, 29.792, 21.688, 174),
    ("tsn_r18", {}, 8, 14.509, 11.266, 174),
    ("tsn_r34", {}, 8, 29.307, 21.374, 174),
    ("stm_r50", {"mode": "cstm"}, 8, 32.746, 23.876, 174),
    ("stm_r50", {"mode": "cstm", "temporal": "ordinary"}, 8, 40.407, 27.637, 174),
    ("stm_r50", {"mode": "cstm", "spatial": "depthwise"}, 8, 18.048, 12.593, 174),
    ("stm_r50", {"mode": "cmm", "stride_at": "reduce"}, 8, 32.912, 24.024, 174),
    ("stm_r50", {"mode": "cmm", "stride_at": "reduce", "reduction": 32}, 8, 32.806, 23.944, 174),
    ("stm_r50", {"mode": "cmm", "stride_at": "reduce", "motion": "ordinary"}, 8, 32.963, 24.066, 174),
    ("stm_r50", {"mode": "cmm", "stride_at": "reduce", "motion": "ordinary", "reduction": 8}, 8, 33.342, 24.357, 174),
    ("stm_r50", {"fuse": "concat", "stride_at": "reduce"}, 8, 36.246, 26.551, 174),
    ("stm_r50", {"blocks": "stage2", "stride_at": "reduce"}, 8, 32.719, 23.865, 174),
    ("stm_r50", {"blocks": "stage3", "stride_at": "reduce"}, 8, 32.723, 23.867, 174),
    ("stm_r50", {"blocks": "stage4", "stride_at": "reduce"}, 8, 32.718, 23.874, 174),
    ("stm_r50", {"blocks": "stage5", "stride_at": "reduce"}, 8, 32.715, 23.899, 174),
    ("stm_r50", {"blocks": "four", "stride_at": "reduce"}, 8, 32.775, 23.912, 174),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "frames", "gmacs", "mparams", "classes"), COUNTS)
def test_counts(name: str, options: dict, frames: int, gmacs: float, mparams: float, classes: int) -> None:
    cost = count(name, num_classes=classes, frames=frames, size=224, options=options)
    assert abs(cost.params / 1e6 - mparams) <= 0.0005
    assert abs(cost.macs / 1e9 - gmacs) <= 0.0006
    assert cost.flops == 2 * cost.macs


# What the paper prints, its units being MACs + 2 per output of a BatchNorm; tolerances are those the rows reach.
PAPER = [
    ("tsn_r50", {}, 8, 32.9, 23.8, 0.003, 0.003),
    ("stm_r50", {}, 8, 33.3, 24.0, 0.01, 0.01),
    ("stm_r50", {}, 16, 66.5, 24.0, 0.01, 0.01),
    ("stm_r18", {}, 8, 14.6, 11.0, 0.01, 0.031),
    ("stm_r34", {}, 8, 29.4, 20.5, 0.01, 0.05),
    ("stm_r50", {"mode": "cstm"}, 8, 32.93, 23.88, 0.001, 0.001),
    ("stm_r50", {"mode": "cstm", "temporal": "ordinary"}, 8, 40.59, 27.64, 0.001, 0.001),
    ("stm_r50", {"mode": "cstm", "spatial": "late"}, 8, 24.05, 13.28, 0.025, 0.001),
    ("stm_r50", {"mode": "cmm"}, 8, 32.95, 23.95, 0.0065, 0.0035),
]  # fmt: skip


def normalised_outputs(name: str, options: dict, frames: int) -> int:
    """Numbers that the BatchNorms of a network give out for one clip."""
    total = 0

    def add(module: nn.Module, args: tuple, output: Tensor) -> None:
        nonlocal total
        total += output.numel()

    with torch.device("meta"):
        model = create_model(name, num_classes=174, frames=frames, **options).eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_hook(add)
        with torch.no_grad():
            model(torch.empty(1, 3, frames, 224, 224))
    return total


@pytest.mark.parametrize(("name", "options", "frames", "gflops", "mparams", "rtol", "ptol"), PAPER)
def test_rows_of_the_paper(
    name: str, options: dict, frames: int, gflops: float, mparams: float, rtol: float, ptol: float
) -> None:
    cost = count(name, num_classes=174, frames=frames, size=224, options=options)
    with_norm = cost.macs + 2 * normalised_outputs(name, options, frames)
    assert abs(with_norm / 1e9 / gflops - 1) <= rtol
    assert abs(cost.params / 1e6 / mparams - 1) <= ptol


def test_stm_without_its_parts_is_the_2d_network_bit_for_bit() -> None:
    tsn, stm = small("tsn_r50"), small("stm_r50", seed=1, init="identity")
    state = stm.state_dict()
    for name, value in tsn.state_dict().items():
        inner = name.replace("conv2.weight", "conv2.cstm.conv.weight") if "layer" in name else name
        state[inner] = value
    stm.load_state_dict(state)
    x = clip()
    assert torch.equal(stm(x), tsn(x))


def test_silent_cmm_leaves_cstm_and_modes_nest() -> None:
    stm, cstm = small("stm_r18"), small("stm_r18", seed=1, mode="cstm")
    own = cstm.state_dict()
    cstm.load_state_dict({k: stm.state_dict()[k.replace("conv1.", "conv1.cstm.") if "layer" in k else k] for k in own})
    torch.testing.assert_close(stm(clip()), cstm(clip()))
    tsn, none = small("tsn_r18"), small("stm_r18", mode="tsn")
    assert torch.equal(tsn(clip()), none(clip()))


def test_shift_start_is_the_shifted_network() -> None:
    """CSTM with its default kernels in one block equals that block with its 3x3 input shifted."""
    from kinema.ops import temporal_shift
    from kinema.ops.stm import CSTM

    cstm = CSTM(16, 16)
    x = torch.randn(1, 16, 4, 5, 5)
    frames = temporal_shift(x).transpose(1, 2).reshape(4, 16, 5, 5)
    torch.testing.assert_close(cstm(x)[0].transpose(0, 1), cstm.conv(frames))


def test_order_matters_to_tsm_and_stm_and_not_to_tsn() -> None:
    x = clip()
    tsn = small("tsn_r18")
    torch.testing.assert_close(tsn(x), tsn(x.flip(2)), rtol=0, atol=2e-6)
    for name in ("tsm_r18", "stm_r18"):
        model = wake(small(name, width=0.25))
        assert (model(x) - model(x.flip(2))).abs().max() > 1e-3


def test_static_clip_has_equal_interior_frames() -> None:
    model = wake(small("stm_r18", blocks="stage3"))
    x = clip(n=1, t=1).expand(-1, -1, 6, -1, -1)
    features = model.forward_features(x)
    torch.testing.assert_close(features[:, :, 1], features[:, :, 4])
    assert (features[:, :, 0] - features[:, :, 1]).abs().max() > 1e-4
    assert (features[:, :, 5] - features[:, :, 1]).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["tsm_r18", "stm_r18", "stm_r50"])
def test_causal_networks_do_not_see_the_future(name: str) -> None:
    model = wake(small(name, width=0.25, causal=True))
    x = clip()
    changed = x.clone()
    changed[:, :, 2:] += 1
    a, b = model.forward_features(x), model.forward_features(changed)
    torch.testing.assert_close(a[:, :, :2], b[:, :, :2])
    assert (a[:, :, 2:] - b[:, :, 2:]).abs().max() > 1e-3


@pytest.mark.parametrize("options", [{"mode": "cmm"}, {"fuse": "concat"}, {"init": "degenerate"}, {"replace": "both"}])
@pytest.mark.parametrize("name", ["stm_r18", "stm_r50"])
def test_every_parameter_of_every_mode_is_reached_by_a_gradient(name: str, options: dict) -> None:
    model = wake(create_model(name, **SMALL, zero_restore=False, **options)).train()
    model(clip()).square().sum().backward()
    for parameter_name, p in model.named_parameters():
        if options == {"init": "degenerate"} and parameter_name.endswith("cmm.bn.bias"):
            continue  # a constant cancels in the plain difference
        assert p.grad is not None, parameter_name
        assert p.grad.isfinite().all(), parameter_name
        assert p.grad.abs().sum() > 0, parameter_name
    if options == {"init": "degenerate"}:
        assert not [n for n, _ in model.named_parameters() if n.endswith((".t.weight", "dw.weight"))]


def test_golden_output() -> None:
    """A fixed network on a fixed clip: what it gave when it was built and checked."""
    model = create_model("stm_r18", **SMALL).eval()
    for i, p in enumerate(model.parameters()):
        with torch.no_grad():
            p.copy_(torch.sin(torch.arange(p.numel(), dtype=torch.float64) * 0.7 + i).view(p.shape) * 0.2)
    x = torch.cos(torch.arange(3 * 4 * 32 * 32, dtype=torch.float64) * 0.01).view(1, 3, 4, 32, 32)
    with torch.no_grad():
        found = model.double()(x)[0]
    torch.testing.assert_close(found, GOLDEN, rtol=1e-8, atol=1e-10)


GOLDEN = torch.tensor(
    [0.54427328153, -0.198508770503, -0.807602869363, -0.920044099536, -0.480307914539], dtype=torch.float64
)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mode": "stmm"}, "did you mean 'stm'"),
        ({"blocks": "stage6"}, "did you mean"),
        ({"reduction": 0}, "at least 1"),
        ({"num_classes": -1}, "at least 0"),
        ({"frames": 2.5}, "frames is 2.5: give "),
        ({"width": 0}, "above 0"),
        ({"reducton": 8}, "did you mean 'reduction'"),
    ],
)
def test_bad_options_are_one_sentence(options: dict, sentence: str) -> None:
    with pytest.raises(KinemaError, match=sentence):
        create_model("stm_r18", **options)


def test_unknown_model_offers_the_nearest() -> None:
    with pytest.raises(KinemaError, match="did you mean 'stm_r50'"):
        create_model("stm_r05")
    assert set(list_models("stm_*")) == {"stm_r18", "stm_r34", "stm_r50"}


@pytest.mark.parametrize("name", ["tsm_r18", "stm_r18"])
def test_compiled_and_exported_networks_give_the_same(name: str) -> None:
    model, x = wake(small(name, width=0.25)), clip()
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(
            torch.compile(model, backend="eager", fullgraph=True)(x), expected, rtol=1e-4, atol=1e-5
        )
        exported = torch.export.export(model, (x,)).module()
        torch.testing.assert_close(exported(x), expected, rtol=1e-4, atol=1e-5)
