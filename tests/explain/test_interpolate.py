"""Cubic splines against scipy's, and sums of squares against enlarged maps one by one."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from kinema.errors import KinemaError
from kinema.explain.interpolate import Size, enlarge, enlarge_squares, spline_matrix, to_unit


def zoomed(values: np.ndarray, size: Size) -> np.ndarray:
    factors = [m / n for m, n in zip(size, values.shape, strict=True)]
    found = scipy.ndimage.zoom(values.astype(np.float64), factors, order=3, mode="mirror")
    assert found.shape == size
    return found


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 14])
def test_the_matrix_is_scipys(n: int) -> None:
    for wanted in (1, 2, 3, 7, 13, 16, 57, 224):
        columns = [scipy.ndimage.zoom(unit, wanted / n, order=3, mode="mirror") for unit in np.eye(n)]
        np.testing.assert_allclose(spline_matrix(n, wanted).numpy(), np.stack(columns, 1), atol=1e-9)
        torch.testing.assert_close(spline_matrix(n, wanted).sum(1), torch.ones(wanted, dtype=torch.float64))


# The last ones are enlarged channel by channel, and have one step in each dimension in turn.
SIZES: list[tuple[int, Size, Size]] = [
    (30, (2, 3, 4), (13, 21, 17)),
    (7, (3, 2, 5), (3, 2, 5)),
    (12, (4, 7, 7), (2, 7, 30)),
    (2, (2, 13, 14), (5, 20, 20)),
    (1, (3, 9, 1), (7, 18, 4)),
    (5, (1, 1, 1), (4, 9, 9)),
    (3, (1, 4, 6), (8, 1, 1)),
]


@pytest.mark.parametrize(("channels", "small", "size"), SIZES)
def test_enlarged_as_by_scipy(channels: int, small: Size, size: Size) -> None:
    maps = torch.randn(channels, *small, generator=torch.Generator().manual_seed(1))
    slow = np.stack([zoomed(z, size) for z in maps.numpy()])
    np.testing.assert_allclose(enlarge(maps, size).numpy(), slow, atol=2e-6)
    squares = enlarge_squares(maps, size)
    assert squares.dtype == torch.float32
    np.testing.assert_allclose(squares.numpy(), (slow**2).sum(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(enlarge_squares(maps.double(), size).numpy(), (slow**2).sum(0), atol=1e-10)


def test_known_values_stay_where_they_are() -> None:
    """The ends are aligned, so every third point of 3 (n - 1) + 1 is a point that was given."""
    maps = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(enlarge(maps, (7, 10, 13))[:, ::3, ::3, ::3], maps)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(dtype: torch.dtype) -> None:
    maps = torch.rand(3, 2, 3, 3).to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    assert enlarge(maps, (4, 6, 6)).dtype == enlarge_squares(maps, (4, 6, 6)).dtype == wide
    torch.testing.assert_close(enlarge_squares(maps, (4, 6, 6)), enlarge(maps.to(wide), (4, 6, 6)).square().sum(0))


def test_no_full_size_map_per_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """512 channels at 8 x 128 x 128 would be 256 MiB; nothing larger than the clip is ever made."""
    largest = 0
    size = (8, 128, 128)

    class Measure(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor):
                largest = max(largest, out.numel())
            return out

    with Measure():
        enlarge_squares(torch.rand(512, 2, 4, 4), size)
        enlarge_squares(torch.rand(16, 2, 40, 40), size)
    assert 0 < largest <= 8 * 128 * 128


def test_to_unit() -> None:
    assert to_unit(torch.tensor([2.0, 4.0, 3.0])).tolist() == [0, 1, 0.5]
    for constant in (torch.zeros(4), torch.full((4,), -7.0), torch.tensor([1.0, 1.0 + 1e-6])):
        assert not to_unit(constant).any()
    assert to_unit(torch.tensor([1e-30, 3e-30])).tolist() == [0, 1]
    with pytest.raises(KinemaError, match="spline_matrix"):
        spline_matrix(0, 3)
