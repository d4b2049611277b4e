"""The convolution over time against PyTorch's own, with its gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from kinema.ops.conv import temporal_conv


@pytest.mark.parametrize("shape", [(1, 4, 8, 5, 6), (3, 16, 4, 7, 7), (2, 8, 1, 3, 3), (2, 8, 2, 1, 1)])
@pytest.mark.parametrize(("kernel_size", "padding"), [(3, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_results_and_gradients_are_those_of_conv3d(
    shape: tuple[int, ...], kernel_size: int, padding: int, layout: torch.memory_format
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn(shape[1], 1, kernel_size, generator=generator).requires_grad_()
    found = temporal_conv(x, weight, padding)
    expected = F.conv3d(x, weight[:, :, :, None, None], padding=(padding, 0, 0), groups=shape[1])
    torch.testing.assert_close(found, expected)
    weights = torch.randn(expected.shape, generator=generator)
    ours = torch.autograd.grad((found * weights).sum(), (x, weight))
    theirs = torch.autograd.grad((expected * weights).sum(), (x, weight))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)


def test_a_frozen_kernel_or_clip_gets_no_gradient() -> None:
    x, weight = torch.randn(1, 4, 3, 2, 2), torch.randn(4, 1, 3)
    assert not temporal_conv(x, weight, 1).requires_grad
    temporal_conv(x, weight.requires_grad_(), 1).sum().backward()
    assert weight.grad is not None
    assert x.grad is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_take_the_plain_way(dtype: torch.dtype) -> None:
    x, weight = torch.randn(2, 4, 5, 3, 3, dtype=dtype), torch.randn(4, 1, 3, dtype=dtype)
    found = temporal_conv(x, weight, 1)
    assert found.dtype == dtype
    assert torch.equal(found, F.conv3d(x, weight[:, :, :, None, None], padding=(1, 0, 0), groups=4))
