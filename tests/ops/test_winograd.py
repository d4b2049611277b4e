"""Winograd's method gives the results of the convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kinema.errors import KinemaError
from kinema.ops import conv
from kinema.ops.winograd import Winograd, fits


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(8, 8), (7, 6), (1, 1), (2, 9)])
def test_pictures(size: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(5, 6, 3, padding=1, bias=bias).double()
    x = torch.randn(3, 5, *size, dtype=torch.float64)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        torch.testing.assert_close(Winograd(plain)(given), plain(given), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "plain", [nn.Conv3d(4, 3, (1, 3, 3), padding=(0, 1, 1)), conv.Conv3d(4, 3, (1, 3, 3), 1, (0, 1, 1))]
)
def test_clips(plain: nn.Conv3d) -> None:
    x = torch.randn(2, 4, 3, 6, 5)
    torch.testing.assert_close(Winograd(plain)(x), plain(x), rtol=1e-5, atol=1e-5)


def test_weights_are_copied() -> None:
    plain = nn.Conv2d(2, 2, 3, padding=1)
    x = torch.randn(1, 2, 4, 4)
    other, before = Winograd(plain), plain(x)
    with torch.no_grad():
        plain.weight.zero_()
        assert plain.bias is not None
        plain.bias.zero_()
    torch.testing.assert_close(other(x), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 3, padding=2),
        nn.Conv2d(4, 4, 3, 2, 1),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 4, (3, 1), padding=(1, 0)),
        nn.Conv3d(4, 4, 3, padding=1),
        nn.ConvTranspose2d(4, 4, 3, padding=1),
        nn.Linear(3, 3),
    ],
)  # fmt: skip
def test_other_convolutions_are_rejected(module: nn.Module) -> None:
    assert not fits(module)
    with pytest.raises(KinemaError, match="not a 3x3 convolution with stride 1"):
        Winograd(module)


def test_a_class_that_computes_something_else_is_rejected() -> None:
    class Twice(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    assert fits(nn.Conv2d(4, 4, 3, padding=1))
    assert fits(nn.Conv2d(4, 4, 3, padding="same"))
    assert not fits(Twice(4, 4, 3, padding=1))
