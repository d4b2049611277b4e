"""3x3 convolutions by Winograd's minimal filtering, for programs that are compiled.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, section 4.1, F(2x2, 3x3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.ops.conv import Conv2d, Conv3d
from kinema.ops.layout import fold_time, stored_pixels, unfold_time

# The matrix G of the paper: 3 values of a kernel -> 4.
_KERNEL = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]])


class Winograd(nn.Module):
    """A convolution with 16 products for each 2x2 outputs instead of 36.

    It cuts the padded pictures into overlapping tiles of 4x4, transforms each tile, multiplies the transformed tiles
    with the transformed kernels, which are 16 matrix products over the channels, and transforms the products into tiles
    of 2x2. The transforms are sums of slices, fast only if a compiler merges them into one loop.

    Input N C H W, or N C T H W for a kernel of 1x3x3; output of the same size with C' channels. In float32 its
    rounding error is at most that of the convolution in the cases of `benchmarks/winograd.py`. In bfloat16, compiled
    chains of four have up to 2.2 times the error there; eager PyTorch rounds in each transform too.

    Args:
        conv: a convolution for which `fits` is true; its weights are copied.

    Attributes:
        kernel: the transformed kernels, 16 C C'.

    Raises:
        KinemaError: another convolution.
    """

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        if not fits(conv):
            raise KinemaError(f"Winograd: {conv} is not a 3x3 convolution with stride 1, padding 1 and one group")
        weight = conv.weight.detach().double().view(conv.out_channels, conv.in_channels, 3, 3)
        matrix = _KERNEL.to(weight)
        kernel = torch.einsum("ia,ocab,jb->ijco", matrix, weight, matrix).flatten(0, 1)
        self.kernel = nn.Parameter(kernel.to(conv.weight.dtype), requires_grad=False)
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach().clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C' H W, or the same with T."""
        if x.ndim == 5:
            return unfold_time(self(fold_time(x)), x.shape[2])
        n, _, height, width = x.shape
        rows, columns = tiles(height), tiles(width)
        # Stored, because a compiler would otherwise check the borders at each of 16 reads.
        padded = stored_pixels(F.pad(x, (1, 1 + 2 * columns - width, 1, 1 + 2 * rows - height)))
        down = _of_tiles([padded[:, i : i + 2 * rows - 1 : 2] for i in range(4)])
        across = [[row[:, :, j : j + 2 * columns - 1 : 2] for j in range(4)] for row in down]
        values = torch.stack([value for row in across for value in _of_tiles(row)])
        products = torch.bmm(values.view(16, n * rows * columns, -1), self.kernel)
        grid = products.view(4, 4, n, rows, columns, -1)
        parts = [part for row in _of_products(grid.unbind()) for part in _of_products(row.unbind())]
        outputs = torch.stack(parts).view(2, 2, n, rows, columns, -1).permute(2, 3, 0, 4, 1, 5)
        found = outputs.reshape(n, 2 * rows, 2 * columns, -1)[:, :height, :width]
        if self.bias is not None:
            found = found + self.bias
        return found.permute(0, 3, 1, 2)


def fits(conv: nn.Module) -> TypeGuard[nn.Conv2d | nn.Conv3d]:
    """True for a convolution 3x3 or 1x3x3 with stride and dilation 1, zeros as padding by 1, and one group."""
    if type(conv) not in (nn.Conv2d, nn.Conv3d, Conv2d, Conv3d):  # other classes may compute something else
        return False
    assert isinstance(conv, nn.Conv2d | nn.Conv3d)
    first = 5 - conv.weight.ndim  # of the dimensions T H W
    return (
        conv.kernel_size == (1, 3, 3)[first:]
        and conv.padding in ((0, 1, 1)[first:], "same")
        and {*conv.stride, *conv.dilation} == {1}
        and conv.groups == 1
        and conv.padding_mode == "zeros"
    )


def tiles(size: int) -> int:
    """Returns the number of tiles along a height or width."""
    return (size + 1) // 2


def _of_tiles(d: Sequence[Tensor]) -> list[Tensor]:
    """The matrix B of the paper: 4 values of a tile -> 4."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _of_products(m: Sequence[Tensor]) -> list[Tensor]:
    """The matrix A of the paper: 4 products -> 2 outputs."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]
