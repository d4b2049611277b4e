"""The Kx1x1 convolution against PyTorch's own, with one thread and with several."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from kinema.ops.conv import Conv3d


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(1, 4, 8, 5, 6), (2, 6, 7, 4, 4), (3, 5, 1, 1, 3)])
@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (5, 4), (7, 8)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_results_and_gradients_are_those_of_conv3d(
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    shape: tuple[int, ...],
    kernel_size: int,
    stride: int,
    layout: torch.memory_format,
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    generator = torch.Generator().manual_seed(0)
    conv = Conv3d(shape[1], 3, (kernel_size, 1, 1), (stride, 1, 1), (kernel_size // 2, 0, 0), bias=False)
    assert conv.weight.shape == (3, shape[1], kernel_size, 1, 1)
    x = torch.randn(shape, generator=generator).contiguous(memory_format=layout).requires_grad_()
    found = conv(x)
    expected = F.conv3d(x, conv.weight, None, (stride, 1, 1), (kernel_size // 2, 0, 0))
    torch.testing.assert_close(found, expected)
    weights = torch.randn(expected.shape, generator=generator)
    ours = torch.autograd.grad((found * weights).sum(), (x, conv.weight))
    theirs = torch.autograd.grad((expected * weights).sum(), (x, conv.weight))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_channels_last_memory_stays_so_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    x = torch.randn(2, 8, 6, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    assert Conv3d(8, 4, (3, 1, 1), padding=(1, 0, 0))(x).is_contiguous(memory_format=torch.channels_last_3d)
