"""`Conv3d` is `nn.Conv3d`, whichever implementation computes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from kinema.ops import CSTM
from kinema.ops.conv import Conv2d, Conv3d, fails_in_bfloat16


def pair(**options: object) -> tuple[Conv3d, nn.Conv3d]:
    given: dict = {"kernel_size": 3, "stride": (1, 2, 2), "padding": 1, "bias": True, **options}
    ours, plain = Conv3d(8, 12, **given), nn.Conv3d(8, 12, **given)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


@pytest.mark.parametrize("clips", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"kernel_size": 1, "padding": 0},
        {"dilation": 2},
        {"groups": 4},
        {"padding": "same", "stride": 1},
        {"padding_mode": "replicate"},
    ],
)
def test_results_and_gradients(options: dict, clips: int) -> None:
    ours, plain = pair(**options)
    x = torch.randn(clips, 8, 4, 9, 7)
    found = []
    for module in (ours, plain):
        given = x.clone().requires_grad_()
        y = module(given)
        y.square().sum().backward()
        found.append([y, given.grad, *(p.grad for p in module.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_one_small_clip_goes_to_onednn_and_stays_channels_last() -> None:
    ours, plain = pair()
    x = torch.randn(1, 8, 4, 9, 7).contiguous(memory_format=torch.channels_last_3d)
    y = ours(x)
    assert "Mkldnn" in type(y.grad_fn).__name__
    assert "Mkldnn" not in type(plain(x).grad_fn).__name__
    assert y.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_take_the_ordinary_way(dtype: torch.dtype) -> None:
    ours, plain = (m.to(dtype) for m in pair())
    x = torch.randn(1, 8, 4, 9, 7, dtype=dtype)
    assert torch.equal(ours(x), plain(x))


def test_autocast_and_export_take_the_ordinary_way() -> None:
    ours, plain = pair()
    x = torch.randn(1, 8, 4, 9, 7)
    with torch.autocast("cpu", torch.bfloat16):
        y = ours(x)
        assert y.dtype == torch.bfloat16 and torch.equal(y, plain(x))
    graph = torch.export.export(ours, (x,)).graph
    assert not any("mkldnn" in str(node.target) for node in graph.nodes)
    with torch.device("meta"):
        assert Conv3d(8, 12, 3)(torch.empty(1, 8, 4, 9, 7)).shape == (1, 12, 2, 7, 5)


FEW_FRAMES: dict[str, tuple[int, Callable[[], nn.Module]]] = {
    "3x3x3 on 2 frames": (2, lambda: Conv3d(16, 16, 3, padding=1, bias=True)),
    "3x1x1 on 2 frames": (2, lambda: Conv3d(16, 16, (3, 1, 1), padding=(1, 0, 0), bias=False)),
    "7x7x7 on 6 frames": (6, lambda: Conv3d(16, 16, 7, (1, 2, 2), 3, bias=False)),
    "grouped": (2, lambda: Conv3d(16, 16, 3, padding=1, groups=4, bias=False)),
    "channel-wise": (2, lambda: Conv3d(16, 16, 3, 1, 1, groups=16, bias=False)),
    "channel-wise 5x1x1 on 4 frames": (4, lambda: Conv3d(16, 16, (5, 1, 1), 1, (2, 0, 0), groups=16, bias=False)),
    "CSTM": (2, lambda: CSTM(16, 16)),
    "CSTM, ordinary": (2, lambda: CSTM(16, 16, temporal="ordinary")),
}


@pytest.mark.parametrize("kind", FEW_FRAMES)
@pytest.mark.parametrize("mixed", [True, False])
def test_gradients_of_few_frames_in_bfloat16_are_right(kind: str, mixed: bool) -> None:
    """PyTorch's own are memory that nobody wrote, on processors with AVX-512."""
    torch.manual_seed(0)
    frames, build = FEW_FRAMES[kind]
    module = build().to(torch.bfloat16).float()  # values that bfloat16 has
    x = torch.randn(2, 16, frames, 6, 6).bfloat16().float().contiguous(memory_format=torch.channels_last_3d)
    weights = torch.randn(module(x).shape).bfloat16().float()

    def gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
        x = x.clone().requires_grad_()
        (module(x).float() * weights).sum().backward()
        found = [g.float() for g in (x.grad, *(p.grad for p in module.parameters())) if g is not None]
        module.zero_grad()
        return found

    expected = gradients(module, x)
    if mixed:
        with torch.autocast("cpu", torch.bfloat16):
            assert module(x).dtype == torch.bfloat16
            found = gradients(module, x)
    else:
        found = gradients(module.bfloat16(), x.bfloat16())
    for ours, right in zip(found, expected, strict=True):
        assert (ours - right).abs().max() < 0.02 * right.abs().max()


def test_only_few_frames_in_bfloat16_with_gradients_are_computed_in_float32() -> None:
    weight = torch.zeros(1, 1, 3, 3, 3, requires_grad=True)
    assert [fails_in_bfloat16(torch.zeros(1, 1, t, 4, 4).bfloat16(), weight) for t in (1, 2, 3, 4, 8)] == [
        False, True, True, False, False,
    ]  # fmt: skip
    x = torch.zeros(1, 1, 2, 4, 4)
    assert not fails_in_bfloat16(x, weight)
    assert not fails_in_bfloat16(x.bfloat16(), weight.detach())
    assert not fails_in_bfloat16(x.bfloat16().to("meta"), weight)
    with torch.no_grad():
        assert not fails_in_bfloat16(x.bfloat16(), weight)
    for dtype, expected in ((torch.bfloat16, True), (torch.float16, False)):
        with torch.autocast("cpu", dtype):
            assert fails_in_bfloat16(x, weight) == expected
    module = Conv3d(2, 2, 3, padding=1)
    x = torch.randn(1, 2, 2, 4, 4)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(compiled(x), module(x))


@pytest.mark.parametrize(("size", "fails"), [(1, True), (3, True), (4, False)])
def test_maps_of_a_few_pixels_are_computed_in_float32_too(size: int, fails: bool) -> None:
    weight = torch.nn.Parameter(torch.zeros(1, 1, 3, 3, 3))
    assert fails_in_bfloat16(torch.zeros(1, 1, 8, size, 8).bfloat16(), weight) == fails
    assert not fails_in_bfloat16(torch.zeros(1, 1, 8, 1, 1).bfloat16(), weight[..., :1, :1])


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(3, 9, 7), (1, 7, 7), (8, 8, 6), (2, 1, 1)])
def test_a_1x1_of_few_pictures_with_one_thread_gives_what_pytorch_gives(size: tuple[int, ...], stride: int) -> None:
    conv = Conv2d(24, 40, 1, stride)
    n, *picture = size
    x = torch.randn(n, 24, *picture).contiguous(memory_format=torch.channels_last).requires_grad_()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        found = conv(x)
        down = torch.randn_like(found)
        gradients = torch.autograd.grad(found, (x, *conv.parameters()), down)
    finally:
        torch.set_num_threads(before)
    exact = [part.detach().double().requires_grad_() for part in (x, *conv.parameters())]
    expected = torch.nn.functional.conv2d(*exact, stride)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(gradients, torch.autograd.grad(expected, exact, down.double()), strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=1e-4)
    assert found.is_contiguous(memory_format=torch.channels_last)
