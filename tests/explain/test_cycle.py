"""Cycle consistency: where frames return to, against a slow reference, and the rates of gates by layer and class."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.explain.cycle import Cycle, cycles, open_rates_by_class
from kinema.models import create_model
from kinema.ops.cycle import cycle_consistent, returned_frames
from kinema.ops.recurrence import SqueezeRecursion


def slow(a: Tensor, b: Tensor, temperature: float) -> list[int]:
    """Frame by frame, as the article describes it."""
    found = []
    for t in range(a.shape[1]):
        distances = torch.stack([(a[:, t] - b[:, i]).square().sum() for i in range(b.shape[1])])
        soft = ((-distances / temperature).softmax(0) * b).sum(1)
        found.append(int(torch.stack([(soft - b[:, i]).square().sum() for i in range(b.shape[1])]).argmin()))
    return found


@pytest.mark.parametrize("temperature", [0.05, 1.0])
@pytest.mark.parametrize("frames", [1, 4, 9])
def test_returned_frames(temperature: float, frames: int) -> None:
    draw = torch.Generator().manual_seed(frames)
    a = torch.randn(5, 6, frames, generator=draw)
    b = a + 0.4 * torch.randn(5, 6, frames, generator=draw)
    found = returned_frames(a, b, temperature)
    assert found.tolist() == [slow(x, y, temperature) for x, y in zip(a, b, strict=True)]
    own = torch.arange(frames)
    both = (found == own).all(1) & (returned_frames(b, a, temperature) == own).all(1)
    assert torch.equal(both, cycle_consistent(a, b, temperature))


def test_a_frame_that_looks_like_another_is_an_error_there() -> None:
    a = torch.eye(6)[None] * 5
    b = a.clone()
    b[:, :, 4] = a[:, :, 1]  # frame 4 of B is frame 1 of A: both return to the earlier one
    there, back = returned_frames(a, b)[0].tolist(), returned_frames(b, a)[0].tolist()
    assert there[:4] == [0, 1, 2, 3] and back == [0, 1, 2, 3, 1, 5]
    cycle = Cycle("x", tuple(there), tuple(back), "hard")
    assert 4 in cycle.errors[0] and cycle.errors[1] == (4,) and not cycle.consistent
    assert Cycle("x", (0, 1), (0, 1), "hard").consistent and not Cycle("x", (0,), (0,), "hard").consistent


class Gated(nn.Module):
    """A gate that is open for what grows over time, and closed for what stands still."""

    def __init__(self, gate: str = "hard") -> None:
        super().__init__()
        self.part = SqueezeRecursion(3, gate=gate, fusion="residual", compare="fused", temperature=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x).mean((2, 3, 4))


def grows() -> Tensor:
    return (torch.arange(6.0)[None, :, None, None] + torch.arange(3.0)[:, None, None, None]).expand(3, 6, 4, 4)


def test_cycles_of_networks() -> None:
    torch.manual_seed(0)
    model = Gated().train()
    (moving,), (still,) = cycles(model, grows()), cycles(model, torch.ones(3, 6, 4, 4))
    assert moving.layer == "part" and moving.consistent and moving.errors == ((), ())
    assert not still.consistent and still.gate == "hard"
    assert model.training and not any(m._forward_hooks for m in model.modules())
    for name in ("srtg_r3d_34", "mtnet_s"):
        network = create_model(name, num_classes=2, width=0.125).eval()
        found = cycles(network, torch.randn(3, 8, 32, 32))
        assert [c.layer for c in found] == [n for n, m in network.named_modules() if isinstance(m, SqueezeRecursion)]
        assert all(len(c.there) == len(c.back) for c in found)


def test_a_cycle_says_what_the_gate_decides() -> None:
    torch.manual_seed(1)
    model = create_model("srtg_r3d_34", num_classes=2, width=0.125, gate="hard").eval()
    clip = torch.randn(3, 8, 32, 32) * torch.linspace(0.2, 3, 8)[:, None, None]
    found = cycles(model, clip)
    gates = {n: m for n, m in model.named_modules() if isinstance(m, SqueezeRecursion)}
    assert [bool(gates[c.layer].open_rate) for c in found] == [c.consistent for c in found]


def test_rates_by_class() -> None:
    torch.manual_seed(0)
    model = Gated()
    before = model.part.open_rate
    clips = [grows(), torch.ones(3, 6, 4, 4), grows(), grows()]
    rates = open_rates_by_class(model, clips, [0, 1, 1, 0], 3)
    assert list(rates) == ["part"]
    assert rates["part"][:2].tolist() == [1.0, 0.5] and rates["part"][2].isnan()
    assert model.part.open_rate is before and model.training


def test_refuses() -> None:
    with pytest.raises(KinemaError, match="srtg"):
        cycles(nn.Linear(1, 1), grows())
    with pytest.raises(KinemaError, match="gate"):
        open_rates_by_class(Gated("none"), [], [], 2)
    with pytest.raises(KinemaError, match="targets"):
        open_rates_by_class(Gated(), [grows()], [2], 2)
    with pytest.raises(KinemaError, match="targets"):
        open_rates_by_class(Gated(), [grows(), grows()], [0], 2)
