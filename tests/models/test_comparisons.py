"""TEA, TANet and MF-Net: published counts, invariants, golden outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kinema.errors import KinemaError
from kinema.evaluation.cost import count
from kinema.models import create_model
from kinema.models.video_model import VideoModel

# (network, options, classes, frames, size) -> published parameters, exact or in millions, and operations in G MACs:
# mmaction2's model zoo for TANet, which also counts BatchNorm, ReLU and pooling; the release and paper of MF-Net;
# TEA's paper, which prints 35 G and no parameters. Then ours, without tolerance.
PUBLISHED: list[tuple[str, dict[str, Any], int, int, int, float | None, float, int, float]] = [
    ("tanet_r50", {}, 400, 8, 256, 25_590_320, 43.065983, 25_590_320, 42.723681),
    ("tanet_r50", {}, 174, 8, 224, 25_127_246, 32.972788, 25_127_246, 32.710665),
    ("tanet_r50", {}, 174, 16, 224, 25_134_670, 65.946542, 25_134_670, 65.422297),
    ("mfnet", {}, 400, 16, 224, 8.0, 11.1, 7_996_368, 11.045450),
    ("tea_r50", {}, 174, 8, 224, None, 35, 24_456_280, 34.537496),
    ("tea_r50", {"mode": "res2net"}, 1000, 1, 224, 25.7, 4.26, 25_699_120, 4.255166),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options", "classes", "frames", "size", "mparams", "gmacs", "params", "macs"), PUBLISHED
)
def test_counts(
    name: str, options: dict[str, Any], classes: int, frames: int, size: int, mparams: float | None, gmacs: float,
    params: int, macs: float,
) -> None:  # fmt: skip
    cost = count(name, num_classes=classes, frames=frames, size=size, options=options)
    assert cost.params == params
    assert abs(cost.macs / 1e9 - macs) < 1e-6
    if mparams is not None:
        assert params == mparams if isinstance(mparams, int) else abs(params / 1e6 / mparams - 1) < 0.01
    with_norms = (cost.macs + 2 * cost.normalised) / 1e9
    assert min(abs(cost.macs / 1e9 / gmacs - 1), abs(with_norms / gmacs - 1)) < 0.01


def test_what_each_part_of_tea_costs() -> None:
    whole, *parts = (count("tea_r50", num_classes=174, options={"mode": m}) for m in ("tea", "mta", "me", "res2net"))
    assert [whole.params - part.params for part in parts] == [431_226, 18_408, 449_634]
    assert parts[2].macs < parts[1].macs < whole.macs < 1.02 * parts[2].macs


def test_the_options_of_tanet_and_their_counts() -> None:
    base = count("tanet_r50", num_classes=174)
    for options, more in (({"alpha": 4}, 16 * (8 * 16 + 16 * 3 + 32)), ({"kernel_size": 5}, 16 * 16 * 2)):
        assert count("tanet_r50", num_classes=174, options=options).params - base.params == more
    assert count("tanet_r50", num_classes=174, options={"beta": 8}).params < base.params


def clip(t: int = 4, size: int = 40) -> torch.Tensor:
    return torch.randn(2, 3, t, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def small(name: str, seed: int = 0, **options: Any) -> VideoModel:
    torch.manual_seed(seed)
    groups = {"groups": 2} if name == "mfnet" else {}
    return create_model(name, **{"num_classes": 5, "frames": 4, "width": 0.125, **groups, **options}).eval()


def test_the_switches_of_tea_nest_and_res2net_sees_each_frame_by_itself() -> None:
    x = clip()  # in double precision: features of fresh weights are near 100, and other batches are rounded otherwise
    plain = small("tea_r50", mode="res2net").double()
    assert plain.per_frame and plain.initial_state(1, size=40)
    with torch.no_grad():
        torch.testing.assert_close(plain(x), plain(x.flip(2)))
        both = plain.forward_features(x)
        torch.testing.assert_close(both[:, :, 1:2], plain.forward_features(x[:, :, 1:2]))
    for mode in ("tea", "mta", "me"):
        model = small("tea_r50", mode=mode).double()
        model.load_state_dict({**model.state_dict(), **plain.state_dict()})
        assert not model.per_frame
        with torch.no_grad():
            assert (model(x) - model(x.flip(2))).abs().max() > 1e-6, mode


@pytest.mark.parametrize("name", ["tea_r50", "tanet_r50", "mfnet"])
def test_streams_are_refused_and_say_how_else(name: str) -> None:
    with pytest.raises(KinemaError, match=rf"{name} cannot stream.*sliding windows"):
        small(name).initial_state(1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tea_r50", "tanet_r50", "mfnet"])
def test_compiled_and_exported_networks_give_the_same(name: str) -> None:
    model, x = small(name), clip().float()
    with torch.no_grad():
        expected = model(x)
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), expected, rtol=1e-4, atol=1e-5)
        exported = torch.export.export(model, (x,)).module()
        torch.testing.assert_close(exported(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["tea_r50", "tanet_r50", "mfnet"])
def test_golden_output(name: str) -> None:
    """A fixed network on a fixed clip: what it gave when it was built and checked."""
    model = small(name)
    for i, p in enumerate(model.parameters()):
        with torch.no_grad():
            wave = torch.sin(torch.arange(p.numel(), dtype=torch.float64) * 0.7 + i).view(p.shape)
            p.copy_(wave * 0.1 + (p.ndim == 1))
    x = torch.cos(torch.arange(3 * 4 * 32 * 32, dtype=torch.float64) * 0.01).view(1, 3, 4, 32, 32)
    with torch.no_grad():
        found = model.double()(x)[0]
    torch.testing.assert_close(found, torch.tensor(GOLDEN[name], dtype=torch.float64), rtol=1e-6, atol=0)


GOLDEN = {
    "tea_r50": [0.063876223, 1.97183266, -0.252880591, 2.46409047, -0.464217909],
    "tanet_r50": [1.24866945, 0.369297179, 1.88953876, -0.0053683541, 2.41318034],
    "mfnet": [-870157.332, 91070.9878, 808690.082, -636907.3, -378796.503],
}


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("tea_r50", {"mode": "tee"}, "mode 'tee'; choose from me, mta, res2net, tea"),
        ("tea_r50", {"reduction": 8}, "unknown option of tea_r50"),
        ("tanet_r50", {"kernel_size": 4}, "kernel_size is 4"),
        ("tanet_r50", {"beta": 0}, "beta is 0"),
        ("tanet_r50", {"alpha": "2"}, "alpha is '2'"),
        ("mfnet", {"groups": 0}, "groups is 0"),
        ("mfnet", {"groups": 2.5}, "groups is 2.5"),
        ("tea_r18", {}, "did you mean"),
    ],
)
def test_bad_options_are_one_sentence(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(KinemaError, match=sentence):
        create_model(name, **options)
