"""`Conv3d` is `nn.Conv3d`, whichever implementation computes it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kinema.ops.convolution import Conv3d


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
