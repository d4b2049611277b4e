"""The channel-wise convolution and its own gradients against PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kinema.ops.conv import Conv3d

CASES = [
    ((3, 3, 3), (1, 1, 1)),
    ((3, 3, 3), (1, 2, 2)),
    ((3, 3, 3), (2, 2, 2)),
    ((5, 1, 1), (1, 1, 1)),
    ((5, 1, 1), (2, 1, 1)),
    ((1, 3, 5), (1, 2, 1)),
]


def channelwise(kernel: tuple[int, int, int], stride: tuple[int, int, int] = (1, 1, 1)) -> Conv3d:
    return Conv3d(6, 6, kernel, stride, tuple(k // 2 for k in kernel), groups=6, bias=False)


def clip(n: int, t: int = 5, h: int = 7, w: int = 6) -> Tensor:
    made = torch.randn(n, 6, t, h, w, generator=torch.Generator().manual_seed(0))
    return made.contiguous(memory_format=torch.channels_last_3d).requires_grad_()


@pytest.mark.parametrize("size", [(5, 7, 6), (2, 1, 3), (1, 4, 4)])
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(("kernel", "stride"), CASES)
def test_result_and_gradients_are_pytorchs(kernel: tuple, stride: tuple, n: int, size: tuple[int, int, int]) -> None:
    torch.manual_seed(1)
    conv, x = channelwise(kernel, stride), clip(n, *size)
    y = conv(x)
    expected = F.conv3d(x, conv.weight, None, stride, tuple(k // 2 for k in kernel), 1, 6)
    torch.testing.assert_close(y, expected)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    g = torch.randn_like(y)
    found = torch.autograd.grad(y, (x, conv.weight), g)
    torch.testing.assert_close(found, torch.autograd.grad(expected, (x, conv.weight), g), rtol=1e-4, atol=1e-5)


def test_memory_format_and_a_part_of_the_channels_do_not_matter() -> None:
    conv, x = channelwise((3, 3, 3)), clip(2)
    wide = torch.cat([x, x.detach()], 1)
    for same in (x.contiguous(), wide[:, :6]):
        results = [(conv(v), *torch.autograd.grad(conv(v).square().sum(), (x, conv.weight))) for v in (x, same)]
        torch.testing.assert_close(results[0], results[1])


def test_only_the_wanted_gradients() -> None:
    conv, x = channelwise((3, 3, 3)), clip(2)
    conv(x.detach()).sum().backward()
    assert conv.weight.grad is not None
    conv.weight.requires_grad_(False)
    conv(x).sum().backward()
    assert x.grad is not None
    assert not conv(x.detach()).requires_grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_left_to_pytorch(dtype: torch.dtype) -> None:
    conv, x = channelwise((5, 1, 1)).to(dtype), clip(2).to(dtype)
    assert torch.equal(conv(x), F.conv3d(x, conv.weight, padding=conv.padding, groups=6))
    with torch.autocast("cpu", torch.bfloat16):
        assert channelwise((3, 3, 3))(clip(2)).dtype == torch.bfloat16
