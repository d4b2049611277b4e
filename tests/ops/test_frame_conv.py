"""The convolution frame by frame against the 3-D one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kinema.ops.frame_conv import FrameConv3d


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 1, 3)])
def test_it_is_the_3d_convolution(stride: tuple[int, int, int], size: int, bias: bool) -> None:
    torch.manual_seed(0)
    conv = FrameConv3d(4, 6, size, stride, bias=bias).double()
    for n in (1, 2):
        x = torch.randn(n, 4, 5, 7, 6, dtype=torch.float64).contiguous(memory_format=torch.channels_last_3d)
        y = conv(x)
        torch.testing.assert_close(y, nn.Conv3d.forward(conv, x))
        assert y.is_contiguous(memory_format=torch.channels_last_3d)
        torch.testing.assert_close(conv(x.contiguous()), y)


def test_names_and_shapes_are_those_of_the_3d_convolution() -> None:
    own, plain = FrameConv3d(4, 6, 3, bias=True), nn.Conv3d(4, 6, (1, 3, 3))
    assert {k: v.shape for k, v in own.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
