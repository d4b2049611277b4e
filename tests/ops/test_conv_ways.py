"""`Conv3d` chooses a way by itself; every choice is PyTorch's convolution."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.ops import Conv3d
from kinema.ops.conv import Conv2d

WAYS: list[tuple[str, dict[str, Any]]] = [
    ("frames", {"kernel_size": 1}),
    ("frames", {"kernel_size": 1, "stride": 2, "groups": 4}),
    ("frames", {"kernel_size": (1, 3, 3), "padding": (0, 1, 1), "stride": (1, 2, 2), "bias": False}),
    ("frames", {"kernel_size": (1, 3, 2), "padding": (0, 2, 0), "dilation": (1, 2, 1), "groups": 2}),
    ("frames", {"kernel_size": (1, 1, 1), "padding": (0, 1, 1), "stride": (2, 2, 1)}),
    ("volume", {"kernel_size": 1, "padding": 1}),
    ("time", {"kernel_size": (3, 1, 1), "padding": (1, 0, 0)}),
    ("time", {"kernel_size": (4, 1, 1), "stride": (2, 1, 1), "dilation": (2, 1, 1), "padding": (3, 0, 0)}),
    ("volume", {"kernel_size": (3, 1, 1), "stride": (1, 2, 2), "padding": (1, 0, 0)}),
    ("channelwise", {"kernel_size": 3, "padding": 1, "groups": 8, "bias": False}),
    ("channelwise", {"kernel_size": (1, 3, 3), "padding": (0, 1, 1), "groups": 8, "bias": False}),
    ("channelwise", {"kernel_size": (5, 1, 1), "padding": (2, 0, 0), "groups": 8, "bias": False}),
    ("channelwise_time", {"kernel_size": (2, 1, 1), "padding": (1, 0, 0), "groups": 8, "bias": False}),
    ("volume", {"kernel_size": 3, "padding": 1, "groups": 8, "bias": True}),
    ("volume", {"kernel_size": 3, "padding": 1, "groups": 8, "dilation": 2, "bias": False}),
    ("volume", {"kernel_size": (3, 3, 3), "padding": (1, 0, 1), "groups": 2}),
    ("plain", {"kernel_size": (3, 1, 1), "padding": "same"}),
    ("plain", {"kernel_size": (1, 3, 3), "padding": (0, 1, 1), "padding_mode": "circular"}),
]


def results(conv: nn.Module, x: Tensor) -> list[Tensor]:
    given = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = conv(given)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=y.dtype)
    found = torch.autograd.grad((y * weights).sum(), [given, *conv.parameters()])
    return [y.detach(), *found, *([conv(x).detach()] if conv.requires_grad_(False) else [])]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("clips", [1, 3])
@pytest.mark.parametrize(("way", "options"), WAYS)
def test_every_way_is_pytorchs_convolution(
    way: str, options: dict[str, Any], clips: int, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    torch.manual_seed(0)
    ours, plain = Conv3d(8, 8, **options).to(dtype), nn.Conv3d(8, 8, **options).to(dtype)
    assert ours._way == way
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(clips, 8, 6, 7, 5, dtype=dtype)
    for given in (x, x.contiguous(memory_format=torch.channels_last_3d)):
        ours.requires_grad_()
        plain.requires_grad_()
        for a, b in zip(results(ours, given), results(plain, given), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (3, 1, 1)},
        {"kernel_size": (2, 1, 1), "groups": 4, "bias": False},
        {"kernel_size": (3, 3, 3), "padding": (7, 1, 1), "groups": 4, "bias": False},
        {"kernel_size": (3, 1, 1), "dilation": (2, 1, 1), "stride": (2, 1, 1)},
        {"kernel_size": (1, 3, 3), "padding": 1},
        {"kernel_size": 3, "padding": 1, "padding_mode": "replicate"},
    ],
)
def test_a_causal_kernel_sees_no_later_frame(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    conv, x = Conv3d(4, 4, causal=True, **options), torch.randn(2, 4, 7, 5, 5)
    y = conv(x)
    assert y.shape[2] == -(-7 // conv.stride[0])
    plain = nn.Conv3d(4, 4, **{**options, "padding": (0, *conv.padding[1:])})
    plain.load_state_dict(conv.state_dict())
    past = conv.dilation[0] * (conv.kernel_size[0] - 1)
    torch.testing.assert_close(y, plain(F.pad(x, (0, 0, 0, 0, past, 0))), rtol=1e-4, atol=1e-5)
    changed = x.clone()
    changed[:, :, 4:] = 9.0
    until = -(-4 // conv.stride[0])
    torch.testing.assert_close(conv(changed)[:, :, :until], y[:, :, :until], rtol=0, atol=1e-6)


def test_compiled_exported_and_on_meta() -> None:
    x = torch.randn(2, 8, 6, 7, 5)
    for _, options in WAYS:
        conv = Conv3d(8, 8, **options).eval()
        torch.testing.assert_close(torch.export.export(conv, (x,)).module()(x), conv(x), rtol=1e-4, atol=1e-5)
        assert conv.to("meta")(x.to("meta")).shape == nn.Conv3d(8, 8, **options)(x).shape


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_frames_of_a_few_pixels_have_the_right_gradients(size: int, dtype: torch.dtype) -> None:
    """In bfloat16 the 3-D ones of oneDNN have not; these are 2-D."""
    torch.manual_seed(0)
    conv = Conv3d(16, 16, (1, 3, 3), 1, (0, 1, 1), bias=False).to(torch.bfloat16).float()
    x = torch.randn(2, 16, 4, size, size).bfloat16().float()
    weights = torch.randn(2, 16, 4, size, size).bfloat16().float()
    expected = torch.autograd.grad((conv(x) * weights).sum(), conv.weight)[0]
    half = conv.to(dtype)
    found = torch.autograd.grad((half(x.to(dtype)).float() * weights).sum(), half.weight)[0].float()
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize("stride", [2, (2, 1), (1, 3)])
@pytest.mark.parametrize("options", [{}, {"groups": 4}, {"padding": 1}, {"bias": False, "padding": "valid"}])
def test_a_strided_pointwise_2d_convolution_is_pytorchs(stride: Any, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    ours, plain = (kind(8, 12, 1, stride, **options).double() for kind in (Conv2d, nn.Conv2d))
    plain.load_state_dict(ours.state_dict())
    for a, b in zip(*(results(m, torch.randn(2, 8, 9, 6).double() * 0 + 0.5) for m in (ours, plain)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kernel_size": 0}, "kernel_size is 0"),
        ({"kernel_size": (3, 3)}, r"kernel_size is \(3, 3\)"),
        ({"kernel_size": 3, "stride": 1.0}, "stride is 1.0"),
        ({"kernel_size": 3, "padding": -1}, "padding is -1"),
        ({"kernel_size": 3, "padding": "sam"}, "padding is 'sam'; .*'same', 'valid'"),
        ({"kernel_size": 3, "padding": "same", "stride": 2}, "padding is 'same'"),
        ({"kernel_size": 3, "padding": "same", "causal": True}, "padding is 'same'"),
        ({"kernel_size": 3, "groups": 3}, "groups is 3"),
        ({"kernel_size": 3, "groups": True}, "groups is True"),
        ({"kernel_size": 3, "bias": 1}, "bias is 1"),
        ({"kernel_size": 3, "padding_mode": "zero"}, "padding_mode is 'zero'; choose from 'zeros', "),
        ({"kernel_size": 3, "causal": "yes"}, "causal is 'yes'"),
    ],
)
def test_wrong_arguments_are_one_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(KinemaError, match=f"^Conv3d: {words}"):
        Conv3d(8, 8, **options)
