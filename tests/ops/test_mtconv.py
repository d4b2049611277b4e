"""MTConv against its equations written out (MTConv, equations 1 to 4)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.ops import MTConv
from kinema.ops.mtconv import ConvNorm, branch_channels
from kinema.ops.pooling import soft_pool
from kinema.ops.selection import select_frames

CUBE, POINT = (3, 3, 3), (1, 1, 1)


def clip(n: int = 2, c: int = 16, t: int = 8, h: int = 8, w: int = 6, seed: int = 0) -> Tensor:
    made = torch.randn(n, c, t, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made.contiguous(memory_format=torch.channels_last_3d)


def awake(module: nn.Module) -> nn.Module:
    """In double precision and evaluation, with BatchNorms that do something."""
    generator = torch.Generator().manual_seed(5)
    for name, value in module.state_dict().items():
        if "norm" in name and value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator)
            value.copy_(noise + 0.5 if "var" in name or "weight" in name else noise - 0.5)
    return module.double().eval()


def branch(x: Tensor, part: ConvNorm, stride: tuple[int, int, int] = POINT) -> Tensor:
    """Convolution, BatchNorm and ReLU with plain calls."""
    w = part.conv.weight
    y = F.conv3d(x, w, None, stride, [k // 2 for k in w.shape[2:]], 1, part.conv.groups)
    norm = part.norm
    return F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()


def shorten(x: Tensor) -> Tensor:
    """Pool, then select, as the text has it."""
    x = soft_pool(x)
    return select_frames(x, x.shape[2] // 2)[0] if x.shape[2] > 2 else x


def up(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="trilinear", align_corners=False)


def test_channels_of_the_branches() -> None:
    assert branch_channels(54, 7 / 8) == (47, 7)
    assert branch_channels(108, 7 / 8) == (94, 14)
    assert branch_channels(24, 7 / 8) == (21, 3)
    assert branch_channels(48, 7 / 8) == (42, 6)
    assert branch_channels(54, 2 / 3) == (36, 18)
    assert branch_channels(30, 0.1) == (3, 27)
    assert branch_channels(30, 1) == (30, 0)
    for delta in (1 / 8, 1 / 4, 0.3, 0.5, 0.9, 0.999):
        for channels in range(8, 60):
            local, rest = branch_channels(channels, delta)
            assert local == math.floor(round(delta * channels, 9))
            assert rest == channels - local == math.ceil(round((1 - delta) * channels, 9))
            assert rest > 0


@pytest.mark.parametrize("stride", [POINT, (1, 2, 2), (2, 2, 2)])
@pytest.mark.parametrize(("t", "h", "w"), [(8, 8, 6), (13, 7, 9), (16, 8, 8), (4, 5, 5), (3, 7, 6)])
def test_text_split_is_equations_2_to_4(stride: tuple[int, int, int], t: int, h: int, w: int) -> None:
    conv, x = awake(MTConv(16, 24, CUBE, stride)), clip(t=t, h=h, w=w)
    local = branch(x, conv.local, stride)
    p1, p2 = branch(shorten(x), conv.prolonged, stride), branch(up(shorten(local), shorten(local)), conv.lateral)
    if p1.shape != p2.shape:  # resized before the pointwise convolution, which is the same as after it but for the ReLU
        p2 = branch(up(shorten(local), p1), conv.lateral)
    expected = torch.cat([local, up(p1 + p2, local)], 1)
    torch.testing.assert_close(conv(x), expected)
    assert conv(x).shape == (2, 24, *(math.ceil(n / s) for n, s in zip((t, h, w), stride, strict=True)))
    assert torch.equal(conv(x)[:, :21], conv.local(x))


@pytest.mark.parametrize("stride", [POINT, (2, 2, 2)])
def test_octave_split_shares_out_the_input(stride: tuple[int, int, int]) -> None:
    conv, x = awake(MTConv(16, 24, CUBE, stride, split="octave", delta=3 / 4)), clip()
    local = branch(x[:, :12], conv.local, stride)
    p1 = branch(shorten(x[:, 12:]), conv.prolonged, stride)
    expected = torch.cat([local, up(p1 + branch(up(shorten(local), p1), conv.lateral), local)], 1)
    torch.testing.assert_close(conv(x), expected)


def test_octave_split_makes_one_frame_of_two_and_keeps_one() -> None:
    conv, x = awake(MTConv(16, 24, POINT, split="octave")), clip(t=2)
    local = branch(x[:, :14], conv.local)
    p = branch(soft_pool(x[:, 14:]).mean(2, keepdim=True), conv.prolonged)
    p = p + branch(soft_pool(local).mean(2, keepdim=True), conv.lateral)
    torch.testing.assert_close(conv(x), torch.cat([local, up(p, local)], 1))
    assert conv(clip(t=1)).shape == (2, 24, 1, 8, 6)
    assert awake(MTConv(16, 24, POINT))(x).shape == (2, 24, 2, 8, 6)


def test_channelwise_convolution_gives_each_branch_its_channels() -> None:
    conv, x = awake(MTConv(16, 16, CUBE, (1, 2, 2), groups=16)), clip()
    local = branch(x[:, :14], conv.local, (1, 2, 2))
    p = branch(shorten(x[:, 14:]), conv.prolonged, (1, 2, 2)) + branch(shorten(local), conv.lateral)
    torch.testing.assert_close(conv(x), torch.cat([local, up(p, local)], 1))
    assert conv.lateral.conv.weight.shape == (2, 14, 1, 1, 1)


def test_grouped_convolution() -> None:
    conv = awake(MTConv(64, 128, CUBE, groups=8))
    assert conv.local.conv.weight.shape == (112, 8, 3, 3, 3)
    assert conv.prolonged.conv.weight.shape == (16, 8, 3, 3, 3)
    x = clip(c=64)
    torch.testing.assert_close(conv(x)[:, :112], branch(x, conv.local))


@pytest.mark.parametrize("split", ["text", "octave"])
def test_delta_1_is_a_convolution(split: str) -> None:
    conv, x = awake(MTConv(16, 24, CUBE, delta=1, split=split)), clip()
    torch.testing.assert_close(conv(x), branch(x, conv.local))
    assert [name for name, _ in conv.named_parameters()] == [
        "local.conv.weight",
        "local.norm.weight",
        "local.norm.bias",
    ]


@pytest.mark.parametrize("delta", [7 / 8, 3 / 4, 1 / 2, 1 / 4])
def test_parameters(delta: float) -> None:
    for c, o, kernel in ((16, 32, CUBE), (24, 24, POINT)):
        kernel_size = kernel[0] ** 3
        (a, b), (p, q) = branch_channels(o, delta), branch_channels(c, delta)
        norms = 2 * (a + 2 * b)
        for split, weights in (
            ("text", c * o * kernel_size + a * b),
            ("octave", (p * a + q * b) * kernel_size + a * b),
        ):
            conv = MTConv(c, o, kernel, delta=delta, split=split)
            assert sum(v.numel() for v in conv.parameters()) == weights + norms
    share = (delta**2 + (1 - delta) ** 2) * 27 + delta * (1 - delta)
    octave = MTConv(32, 32, CUBE, delta=delta, split="octave")
    assert sum(v.numel() for v in octave.parameters() if v.ndim == 5) == share * 32 * 32


def test_silent_prolonged_weights_give_constant_channels() -> None:
    conv, x = awake(MTConv(16, 24, CUBE)), clip()
    for part in (conv.prolonged, conv.lateral):
        nn.init.zeros_(part.conv.weight)
    channels = conv(x)[:, 21:].flatten(2)
    torch.testing.assert_close(channels, channels[:, :, :1].expand_as(channels))


def test_a_constant_clip_is_not_changed_by_pooling_and_interpolation() -> None:
    conv, x = awake(MTConv(16, 24, POINT)), torch.ones(1, 16, 5, 7, 5, dtype=torch.float64)
    y = conv(x)
    torch.testing.assert_close(y, y[:, :, :1, :1, :1].expand_as(y))
    one = branch(x[:, :, :1, :1, :1], conv.prolonged)
    one = one + branch(branch(x[:, :, :1, :1, :1], conv.local), conv.lateral)
    torch.testing.assert_close(y[:, 21:, :1, :1, :1], one)


def test_without_relu_values_below_zero_pass() -> None:
    x = clip()
    plain, linear = awake(MTConv(16, 24, CUBE)), awake(MTConv(16, 24, CUBE, relu=False))
    linear.load_state_dict(plain.state_dict())
    assert plain(x).min() == 0
    assert linear(x)[:, 21:].min() < 0
    torch.testing.assert_close(linear(x)[:, :21].relu(), plain(x)[:, :21])


@pytest.mark.parametrize("pooling", ["average", "max", "stochastic", "softpool", "average+cosine", "softpool+cosine"])
@pytest.mark.parametrize("options", [{}, {"split": "octave"}, {"groups": 16}])
def test_every_parameter_and_the_input_get_a_gradient(pooling: str, options: dict) -> None:
    torch.manual_seed(0)
    conv, x = MTConv(16, 16, CUBE, (1, 2, 2), pooling=pooling, **options), clip(h=9).float().requires_grad_()
    conv(x).square().sum().backward()
    for name, p in [*conv.named_parameters(), ("input", x)]:
        assert p.grad.isfinite().all(), name
        assert p.grad.abs().sum() > 0, name


def test_clips_of_a_batch_do_not_meet_and_memory_does_not_matter() -> None:
    conv, x = awake(MTConv(16, 24, CUBE)), clip(n=3)
    torch.testing.assert_close(conv(x)[1:2], conv(x[1:2]))
    torch.testing.assert_close(conv(x.contiguous()), conv(x))
    for size in (1, 3):
        assert conv.float()(x[:size].float()).is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_finite_on_large_activations(dtype: torch.dtype) -> None:
    conv, x = MTConv(16, 24, CUBE), (clip() * 500).float()
    with torch.autocast("cpu", dtype):
        y = conv(x)
    assert y.isfinite().all()
    y.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in conv.parameters())


def test_few_channels_in_are_enough_for_the_text_split() -> None:
    x = clip(c=3).float()
    assert MTConv(3, 24, 3, delta=1 / 4)(x).shape == (2, 24, 8, 8, 6)
    with pytest.raises(KinemaError, match="none of 3 channels"):
        MTConv(3, 24, 3, delta=1 / 4, split="octave")


def test_one_number_stands_for_three() -> None:
    conv, same, x = MTConv(16, 24, 3, 2).eval(), MTConv(16, 24, CUBE, (2, 2, 2)).eval(), clip().float()
    same.load_state_dict(conv.state_dict())
    assert torch.equal(conv(x), same(x))
    for options in (
        {"kernel": 2},
        {"kernel": (3, 3)},
        {"kernel": 3, "stride": 0},
        {"kernel": 3, "stride": (1, 2.0, 2)},
    ):
        with pytest.raises(KinemaError, match=r"MTConv: (kernel|stride) is .*; give"):
            MTConv(16, 24, **options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"delta": 0}, "delta is 0; give a number above 0"),
        ({"delta": 1.5}, "at most 1"),
        ({"delta": "7/8"}, "above 0 and at most 1"),
        ({"delta": 0.01}, "none of 24 channels"),
        ({"split": "octal"}, "split is 'octal'; choose from 'octave', "),
        ({"pooling": "avg"}, "pooling is 'avg'; choose from 'average', "),
        ({"groups": 4}, "groups is 4, which is not a divisor of the 21 channels"),
        ({"groups": 0}, "groups is 0"),
    ],
)
def test_bad_options_are_one_sentence(options: dict, sentence: str) -> None:
    with pytest.raises(KinemaError, match=sentence):
        MTConv(16, 24, CUBE, **options)
