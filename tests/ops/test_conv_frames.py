"""The convolution frame by frame against the 3-D one."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kinema.ops.conv import Conv3d


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 1, 3)])
def test_it_is_the_3d_convolution(stride: tuple[int, int, int], size: int, bias: bool) -> None:
    torch.manual_seed(0)
    conv = Conv3d(4, 6, (1, size, size), stride, (0, size // 2, size // 2), bias=bias).double()
    for n in (1, 2):
        x = torch.randn(n, 4, 5, 7, 6, dtype=torch.float64).contiguous(memory_format=torch.channels_last_3d)
        y = conv(x)
        torch.testing.assert_close(y, F.conv3d(x, conv.weight, conv.bias, stride, conv.padding))
        assert y.is_contiguous(memory_format=torch.channels_last_3d)
        torch.testing.assert_close(conv(x.contiguous()), y)


def test_names_and_shapes_are_those_of_the_3d_convolution() -> None:
    own, plain = Conv3d(4, 6, (1, 3, 3)), nn.Conv3d(4, 6, (1, 3, 3))
    assert {k: v.shape for k, v in own.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}


def test_the_gradient_of_a_strided_pointwise_convolution_of_few_channels() -> None:
    """For 8 channels of 56 x 56 oneDNN wrote past its memory: a crash, or a wrong gradient."""
    code = (
        "import torch\n"
        "from kinema.ops.conv import Conv2d, Conv3d\n"
        "torch.manual_seed(0); torch.set_num_threads(1)\n"
        "x = torch.randn(64, 8, 56, 56).contiguous(memory_format=torch.channels_last)\n"
        "plain = Conv2d(8, 16, 1, 2, bias=False)\n"
        "folded = Conv3d(8, 16, 1, (1, 2, 2), bias=False)\n"
        "for conv, clips in ((plain, x), (folded, x.unflatten(0, (8, 8)).transpose(1, 2))):\n"
        "    y = conv(clips); g = torch.randn_like(y); y.backward(g)\n"
        "    sparse = clips[..., ::2, ::2].double().movedim(1, -1).flatten(0, -2)\n"
        "    expected = g.double().movedim(1, -1).flatten(0, -2).T @ sparse\n"
        "    assert torch.allclose(conv.weight.grad.flatten(1).double(), expected, rtol=1e-3, atol=1e-2)\n"
        "print('right')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "right", done.stderr
