"""MotionExcitation and MTA against slow references (TEA, sections 3.1 and 3.2, and the authors' code)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.ops import MTA, MotionExcitation


def awake(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.uniform_(-0.2, 0.2, generator=generator)
            m.running_var.uniform_(0.5, 1.5, generator=generator)
    return module.double().eval()


def clip(c: int = 32, t: int = 4, size: int = 5) -> Tensor:
    return torch.randn(2, c, t, size, size + 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_motion_excitation_frame_by_frame() -> None:
    me, x = awake(MotionExcitation(32, reduction=8)), clip()
    f = [me.norm(me.reduce(x[:, :, t])) for t in range(4)]
    for t in range(4):
        motion = torch.zeros_like(f[0])
        if t < 3:
            motion = F.conv2d(f[t + 1], me.move.weight, padding=1, groups=4) - f[t]
        attention = me.restore_norm(me.restore(motion.mean((2, 3), keepdim=True))).sigmoid() - 0.5
        torch.testing.assert_close(me(x)[:, :, t], x[:, :, t] + x[:, :, t] * attention)
    assert me(clip(t=1)).shape == (2, 32, 1, 5, 6)


def test_the_excitation_looks_one_frame_ahead_and_no_further() -> None:
    me, x = awake(MotionExcitation(32)), clip()
    changed = x.clone()
    changed[:, :, 3] += 1
    moved = (me.excitation(changed) - me.excitation(x)).abs().amax((0, 1, 3, 4)) > 0
    assert moved.tolist() == [False, False, True, False]  # the last frame has no next one
    assert (me.excitation(x) > 0.5).all() and (me.excitation(x) < 1.5).all()


def slow_time(x: Tensor, kernel: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for t in range(x.shape[2]):
        for i in range(3):
            if 0 <= t + i - 1 < x.shape[2]:
                out[:, :, t] += kernel[:, 0, i].view(1, -1, 1, 1) * x[:, :, t + i - 1]
    return out


@pytest.mark.parametrize(("stride", "chained"), [(1, True), (1, False), (2, False)])
def test_mta_group_by_group(stride: int, chained: bool) -> None:
    mta, x = awake(MTA(32, stride, chained=chained)), clip()
    before, results = None, []
    for i in range(4):
        part = x[:, 8 * i : 8 * i + 8]
        if chained and before is not None and i < 3:
            part = part + before
        part = slow_time(part, mta.t[i])
        if i < 3:
            frames = [F.conv2d(part[:, :, t], mta.convs[i].weight, None, stride, 1) for t in range(4)]
            part = torch.stack([mta.norms[i](frame).relu() for frame in frames], 2)
        elif not chained:
            part = torch.stack([F.avg_pool2d(part[:, :, t], 3, stride, 1) for t in range(4)], 2)
        before = part
        results.append(part)
    torch.testing.assert_close(mta(x), torch.cat(results, 1))


def test_its_groups_see_ever_more_of_the_clip() -> None:
    mta, x = awake(MTA(32)), clip(t=9)
    changed = x.clone()
    changed[:, :, 4] += 1
    moved = (mta(changed) - mta(x)).abs().amax((0, 3, 4)) > 0
    reach = [[t for t in range(9) if moved[8 * i : 8 * i + 8, t].any()] for i in range(4)]
    assert [len(found) for found in reach] == [3, 5, 7, 3]
    assert all(found[0] + found[-1] == 8 for found in reach)


def test_it_starts_as_res2net_but_for_a_shift_of_the_last_group() -> None:
    torch.manual_seed(0)
    mta = MTA(36).eval()
    plain = MTA(36, temporal=False).eval()
    assert not [name for name, _ in plain.named_parameters() if name.startswith("t.")]
    plain.load_state_dict({k: v for k, v in mta.state_dict().items() if not k.startswith("t.")})
    x = clip(36).float()
    torch.testing.assert_close(mta(x)[:, :27], plain(x)[:, :27])
    last, shifted = x[:, 27:], mta(x)[:, 27:]
    torch.testing.assert_close(shifted[:, :4, :-1], last[:, :4, 1:])  # from the next frame
    torch.testing.assert_close(shifted[:, 4:8, 1:], last[:, 4:8, :-1])
    torch.testing.assert_close(shifted[:, 8], last[:, 8])  # of nine channels one has no side
    assert torch.equal(plain(x)[:, 27:], last)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"channels": 30}, "groups is 4"),
        ({"groups": 1}, "groups is 1"),
        ({"groups": 3}, "groups is 3"),
        ({"stride": 2}, "stride is 2"),
        ({"stride": 0}, "stride"),
        ({"temporal": 1}, "temporal"),
    ],
)
def test_bad_arguments_of_mta(values: dict, field: str) -> None:
    with pytest.raises(KinemaError, match=field):
        MTA(**{"channels": 32, **values})


@pytest.mark.parametrize("values", [{"channels": 0}, {"channels": 8, "reduction": 0}, {"channels": "8"}])
def test_bad_arguments_of_motion_excitation(values: dict) -> None:
    with pytest.raises(KinemaError, match=list(values)[-1]):
        MotionExcitation(**values)
