"""Cubic splines from the size of a map to the size of its clip.

The first and the last points of both grids coincide, so step i of n is at i (N - 1) / (n - 1) of N. This equals
`scipy.ndimage.zoom(..., order=3, mode="mirror")`, computed as products with one matrix per dimension: it runs on any
device and returns exactly the requested size.

Source: thesis, section 7.4, figure 7.5.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from kinema.errors import KinemaError
from kinema.ops.precision import widen

Size = tuple[int, int, int]

_CHUNK = 4  # channels of one frame that are enlarged together
_PASS = 20  # rough number of multiplications that take as long as reading and writing one number


@lru_cache(maxsize=64)
def spline_matrix(n: int, wanted: int) -> Tensor:
    """Returns the matrix that interpolates n values with a cubic spline, mirrored at both ends.

    Args:
        n: number of given values, at least 1; a single value is repeated.
        wanted: N, number of interpolated values, at least 1; a single one is the first given value.

    Returns:
        float64 [N, n]; every row sums to 1. Do not modify it: it is cached.

    Raises:
        KinemaError: a number is below 1.
    """
    if n < 1 or wanted < 1:
        raise KinemaError(f"spline_matrix: n is {n} and wanted is {wanted}; give at least 1 for each")
    at = torch.linspace(0, n - 1, wanted, dtype=torch.float64) if wanted > 1 else torch.zeros(1, dtype=torch.float64)
    first = at.floor().clamp(0, max(0, n - 1)).long()
    t = at - first
    # The four cubic B-splines that are not zero between two knots, from left to right.
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    values = _collect([(first + offset, weight / 6) for offset, weight in zip((-1, 0, 1, 2), weights, strict=True)], n)
    knots = torch.arange(n)
    even = torch.ones(n, dtype=torch.float64)
    at_knots = _collect([(knots - 1, even / 6), (knots, even * 4 / 6), (knots + 1, even / 6)], n)
    return torch.linalg.solve(at_knots, values, left=False)


def _collect(parts: list[tuple[Tensor, Tensor]], n: int) -> Tensor:
    """Returns rows of weights for n coefficients, mirrored at the first and the last one."""
    rows = torch.zeros(len(parts[0][0]), n, dtype=torch.float64)
    period = max(1, 2 * (n - 1))
    for place, weight in parts:
        folded = place % period
        rows.scatter_add_(1, torch.minimum(folded, period - folded)[:, None] if n > 1 else 0 * place[:, None],
                          weight[:, None])  # fmt: skip
    return rows


def enlarge(maps: Tensor, size: Size) -> Tensor:
    """Interpolates maps to the size of a clip.

    Args:
        maps: float `... t h w`.
        size: T, H, W.

    Returns:
        `... T H W` in the dtype of `maps`, at least float32. It may exceed the range of the given values.
    """
    found = widen(maps)
    time, rows, columns = (
        None if n == m else spline_matrix(n, m).to(found) for n, m in zip(maps.shape[-3:], size, strict=True)
    )
    if columns is not None:
        found = found @ columns.T
    if rows is not None:
        found = rows @ found
    return found if time is None else (time @ found.flatten(-2)).unflatten(-1, found.shape[-2:])


def enlarge_squares(maps: Tensor, size: Size) -> Tensor:
    """Computes the sum of the squares of the enlarged maps of all channels, without enlarging every channel.

    In space, interpolation is a product with one matrix S for all channels. With the channels of a frame as rows of Z,
    the sum of the squares is the diagonal of `S Z' Z S'`. Z' Z has one row per point of the map, for any number of
    channels, and S is the product of one matrix for the rows and one for the columns. A frame with many points and few
    channels is enlarged channel by channel instead.

    Args:
        maps: float C t h w.
        size: T, H, W.

    Returns:
        float32 (float64 for float64 maps) T H W, not negative.
    """
    channels, _, height, width = maps.shape
    frames, full_height, full_width = size
    # In float64, because differences of the products may be small; not every accelerator supports it.
    exact = maps.to("cpu" if maps.device.type == "mps" else maps.device, torch.float64)
    time, rows, columns = (spline_matrix(n, m).to(exact) for n, m in zip(maps.shape[1:], size, strict=True))
    total = torch.empty(size, dtype=widen(maps).dtype, device=exact.device)
    points = height * width
    by_products = (channels + full_height) * points**2 + full_height * full_width * width**2
    by_channels = channels * (full_height * points + full_height * full_width * (width + _PASS))
    for frame in range(frames):
        z = torch.einsum("t,cthw->chw", time[frame], exact)
        if by_products <= by_channels:
            products = (z.flatten(1).T @ z.flatten(1)).view(height, width, height, width).transpose(1, 2)
            found = _pairs(rows) @ products.reshape(height**2, width**2) @ _pairs(columns).T
        else:
            found = exact.new_zeros(size[1:])
            for chunk in z.split(_CHUNK):
                found += (rows @ (chunk @ columns.T)).square().sum(0)
        total[frame] = found.clamp_min(0)
    return total.to(maps.device)


def _pairs(matrix: Tensor) -> Tensor:
    """Returns the products of any two entries of each row, N n -> N (n n)."""
    return (matrix[:, :, None] * matrix[:, None, :]).flatten(1)


def to_unit(values: Tensor) -> Tensor:
    """Shifts and scales a map to [0, 1]; a constant map becomes zeros.

    Args:
        values: float, any shape.
    """
    low, high = values.amin(), values.amax()
    span = high - low
    # Rounding errors of this size make an enlarged constant map slightly unequal.
    noise = 64 * torch.finfo(values.dtype).eps * torch.maximum(low.abs(), high.abs())
    if span <= noise:
        return torch.zeros_like(values)
    return ((values - low) / span).clamp(0, 1)
