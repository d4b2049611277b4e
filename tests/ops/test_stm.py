"""CSTM and CMM against slow, obvious references (STM, equations 1 and 2)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.ops import CMM, CSTM, temporal_shift
from kinema.ops.layout import fold_time, unfold_time


def clip(n: int = 2, c: int = 16, t: int = 5, h: int = 6, w: int = 7, seed: int = 0) -> Tensor:
    return torch.randn(n, c, t, h, w, generator=torch.Generator().manual_seed(seed))


def frames_conv(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The 2-D convolution of each frame, one frame after the other."""
    return torch.stack([conv(x[:, :, t]) for t in range(x.shape[2])], 2)


def slow_temporal(x: Tensor, kernel: Tensor, first: int) -> Tensor:
    """Equation 1 by loops; `kernel` C kernel_size, tap i looks at t + first + i."""
    out = torch.zeros_like(x)
    for t in range(x.shape[2]):
        for i in range(kernel.shape[1]):
            s = t + first + i
            if 0 <= s < x.shape[2]:
                out[:, :, t] += kernel[:, i].view(1, -1, 1, 1) * x[:, :, s]
    return out


def slow_motion(f: Tensor, kernel: Tensor) -> Tensor:
    """Equation 2 by loops over pixels of the kernel; `kernel` C 3 3; zeros for the last frame."""
    padded = F.pad(f, (1, 1, 1, 1))
    h, w = f.shape[3:]
    out = torch.zeros_like(f)
    for t in range(f.shape[2] - 1):
        moved = torch.zeros_like(f[:, :, 0])
        for i in range(3):
            for j in range(3):
                moved += kernel[:, i, j].view(1, -1, 1, 1) * padded[:, :, t + 1, i : i + h, j : j + w]
        out[:, :, t] = f[:, :, t] - moved
    return out


@pytest.mark.parametrize("stride", [1, 2])
def test_cstm_is_equation_1_then_a_3x3(stride: int) -> None:
    torch.manual_seed(1)
    cstm, x = CSTM(16, 8, stride, init="random"), clip()
    expected = frames_conv(cstm.conv, slow_temporal(x, cstm.kernel[:, 0], -1))
    torch.testing.assert_close(cstm(x), expected)


def test_cstm_causal_looks_at_t_minus_1_and_t() -> None:
    cstm, x = CSTM(16, 8, init="random", causal=True), clip()
    assert cstm.kernel.shape == (16, 1, 2)
    torch.testing.assert_close(cstm(x), frames_conv(cstm.conv, slow_temporal(x, cstm.kernel[:, 0], -1)))


def test_cstm_ordinary_mixes_channels() -> None:
    cstm, x = CSTM(4, 4, init="random", temporal="ordinary"), clip(c=4)
    mixed = torch.zeros_like(x)
    for out in range(4):
        for source in range(4):
            mixed[:, out] += slow_temporal(x[:, source : source + 1], cstm.kernel[out, source][None], -1)[:, 0]
    torch.testing.assert_close(cstm(x), frames_conv(cstm.conv, mixed))


@pytest.mark.parametrize("temporal", ["depthwise", "ordinary"])
def test_identity_kernel_is_the_3x3_bit_for_bit(temporal: str) -> None:
    cstm, x = CSTM(16, 8, init="identity", temporal=temporal), clip()
    assert torch.equal(cstm(x), unfold_time(cstm.conv(fold_time(x)), 5))


@pytest.mark.parametrize("causal", [False, True])
def test_shift_start_is_tsm(causal: bool) -> None:
    cstm, x = CSTM(16, 8, init="shift", causal=causal), clip()
    expected = frames_conv(cstm.conv, temporal_shift(x, 8, causal))
    torch.testing.assert_close(cstm(x), expected, rtol=0, atol=1e-6)


def test_degenerate_kernel_is_the_low_frequency_and_is_not_learned() -> None:
    cstm, x = CSTM(16, 8, init="degenerate"), clip()
    following = torch.cat([x[:, :, 1:], torch.zeros_like(x[:, :, :1])], 2)
    torch.testing.assert_close(cstm(x), frames_conv(cstm.conv, x + following))
    assert [name for name, _ in cstm.named_parameters()] == ["conv.weight"]
    assert torch.equal(CSTM(16, 8, init="degenerate", low_scale=0.5).kernel, 0.5 * cstm.kernel)


def test_mirrored_kernels_commute_with_reversal() -> None:
    one, other, x = CSTM(16, 8, init="random"), CSTM(16, 8, init="random"), clip()
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        other.t.weight.copy_(one.t.weight.flip(2))
    torch.testing.assert_close(one(x.flip(2)).flip(2), other(x))


def test_cmm_is_equation_2_between_its_1x1s() -> None:
    torch.manual_seed(2)
    cmm, x = CMM(16, 8, reduction=4, zero_restore=False).eval(), clip()
    nn.init.normal_(cmm.dw.weight)
    cmm.bn.running_mean.normal_()
    reduced = torch.stack([cmm.bn(cmm.reduce(x[:, :, t])) for t in range(5)], 2)
    torch.testing.assert_close(cmm.motion(x), slow_motion(reduced, cmm.dw.weight[:, 0]))
    torch.testing.assert_close(cmm(x), frames_conv(cmm.restore, slow_motion(reduced, cmm.dw.weight[:, 0])))


def test_cmm_stride_averages_the_motion_and_fits_a_strided_3x3_on_odd_sizes() -> None:
    cmm, x = CMM(16, 8, 2, zero_restore=False).eval(), clip(h=7, w=6)
    motion = cmm.motion(x)
    expected = frames_conv(cmm.restore, torch.stack([
        F.avg_pool2d(motion[:, :, t], 2, ceil_mode=True, count_include_pad=False) for t in range(5)
    ], 2))  # fmt: skip
    torch.testing.assert_close(cmm(x), expected)
    assert cmm(x).shape == CSTM(16, 8, 2)(x).shape == (2, 8, 5, 4, 3)
    assert CMM(16, 8, 2, stride_at="reduce")(x).shape == (2, 8, 5, 4, 3)


def test_centre_delta_gives_the_plain_difference_and_a_static_clip_gives_nothing() -> None:
    cmm, x = CMM(16, 8).eval(), clip()
    f = torch.stack([cmm.bn(cmm.reduce(x[:, :, t])) for t in range(5)], 2)
    motion = cmm.motion(x)
    torch.testing.assert_close(motion[:, :, :-1], f[:, :, :-1] - f[:, :, 1:])
    assert torch.equal(motion[:, :, -1], torch.zeros_like(motion[:, :, -1]))
    static = x[:, :, :1].expand(-1, -1, 5, -1, -1)
    assert cmm.motion(static).abs().max() < 1e-6
    nn.init.normal_(cmm.dw.weight)  # with another kernel a static clip is equal over time, but not zero
    other = cmm.motion(static)
    assert other[:, :, 0].abs().max() > 0
    torch.testing.assert_close(other[:, :, 0], other[:, :, 3])


def test_causal_motion_is_the_motion_of_the_frame_before() -> None:
    cmm, x = CMM(16, 8).eval(), clip()
    later = CMM(16, 8, causal=True).eval()
    later.load_state_dict(cmm.state_dict())
    assert torch.equal(later.motion(x)[:, :, 1:], cmm.motion(x)[:, :, :-1])
    assert later.motion(x)[:, :, 0].abs().max() == 0


def test_motion_options() -> None:
    x = clip()
    ordinary = CMM(16, 8, motion="ordinary", reduction=4).eval()
    depthwise = CMM(16, 8, reduction=4).eval()
    depthwise.load_state_dict({**ordinary.state_dict(), "dw.weight": depthwise.dw.weight})
    assert ordinary.dw.weight.shape == (4, 4, 3, 3)
    torch.testing.assert_close(ordinary.motion(x), depthwise.motion(x))  # both start as the plain difference
    assert not [n for n, _ in CMM(16, 8, motion="degenerate").named_parameters() if n.startswith("dw")]


def test_narrow_modules_keep_a_channel() -> None:
    assert CMM(4, 4, reduction=16).reduce.out_channels == 1


@pytest.mark.parametrize("module", [CSTM(16, 8, init="random"), CMM(16, 8, zero_restore=False)])
def test_a_clip_is_independent_of_its_batch_and_of_the_layout(module: nn.Module) -> None:
    module.eval()
    x = clip(n=3)
    whole = module(x)
    torch.testing.assert_close(whole[1:2], module(x[1:2]))
    torch.testing.assert_close(whole, module(x.contiguous(memory_format=torch.channels_last_3d)))


@pytest.mark.parametrize("causal", [False, True])
def test_one_frame_is_a_clip_too(causal: bool) -> None:
    x = clip(t=1)
    cstm = CSTM(16, 8, init="random", causal=causal)
    centre = cstm.kernel[:, 0, 1].view(1, -1, 1, 1, 1)
    torch.testing.assert_close(cstm(x), frames_conv(cstm.conv, centre * x))
    assert CMM(16, 8, causal=causal).motion(x).abs().max() == 0


@pytest.mark.parametrize(
    "module", [CSTM(16, 16, causal=True, init="random"), CMM(16, 16, causal=True, zero_restore=False)]
)
def test_causal_modules_do_not_see_the_future(module: nn.Module) -> None:
    module.eval()
    x = clip()
    changed = x.clone()
    changed[:, :, 3:] += 1
    a, b = module(x), module(changed)
    assert torch.equal(a[:, :, :3], b[:, :, :3])
    assert not torch.equal(a[:, :, 3], b[:, :, 3])
