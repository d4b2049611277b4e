"""SoftPool and the other prolonged poolings against loops over windows (MTConv, equation 5 and table VIc)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import get_args

import pytest
import torch
from torch import Tensor

from kinema.errors import KinemaError
from kinema.ops import select_frames, soft_pool
from kinema.ops.pooling import Pooling, average_pool, prolong, stochastic_pool

KERNELS = [(1, 2, 2), (2, 2, 2), (1, 3, 2)]
SIZES = [(4, 6, 8), (5, 7, 9), (3, 5, 6), (2, 1, 1), (1, 4, 3)]


def clip(n: int = 2, c: int = 5, t: int = 4, h: int = 6, w: int = 8, seed: int = 0) -> Tensor:
    made = torch.randn(n, c, t, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made.contiguous(memory_format=torch.channels_last_3d)


def windows(x: Tensor, kernel: tuple[int, int, int]) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """The place of every window in the result, and its cells, N C cells; a window at the edge has fewer."""
    counts = [math.ceil(size / k) for size, k in zip(x.shape[2:], kernel, strict=True)]
    for place in product(*map(range, counts)):
        cut = [slice(i * k, i * k + k) for i, k in zip(place, kernel, strict=True)]
        yield place, x[:, :, cut[0], cut[1], cut[2]].flatten(2)


def by_windows(x: Tensor, kernel: tuple[int, int, int], pool: Callable[[Tensor], Tensor]) -> Tensor:
    out = x.new_empty(*x.shape[:2], *(math.ceil(size / k) for size, k in zip(x.shape[2:], kernel, strict=True)))
    for (i, j, k), cells in windows(x, kernel):
        out[:, :, i, j, k] = pool(cells)
    return out


def soft(cells: Tensor) -> Tensor:
    return (cells.softmax(2) * cells).sum(2)


def weighted(cells: Tensor) -> Tensor:
    weights = cells.clamp_min(1e-30)
    return (weights * cells).sum(2) / weights.sum(2)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", SIZES)
def test_poolings_are_those_of_each_window(kernel: tuple[int, int, int], size: tuple[int, int, int]) -> None:
    x = clip(2, 3, *size)
    torch.testing.assert_close(soft_pool(x, kernel), by_windows(x, kernel, soft))
    torch.testing.assert_close(average_pool(x, kernel), by_windows(x, kernel, lambda cells: cells.mean(2)))
    torch.testing.assert_close(stochastic_pool(x, kernel), by_windows(x, kernel, weighted))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", SIZES)
def test_gradient_of_soft_pool_is_that_of_the_formula(kernel: tuple[int, int, int], size: tuple[int, int, int]) -> None:
    x = clip(2, 3, *size).requires_grad_()
    slow = by_windows(x, kernel, soft)
    g = torch.randn(slow.shape, dtype=torch.float64)
    (found,) = torch.autograd.grad(soft_pool(x, kernel), x, g)
    (expected,) = torch.autograd.grad(slow, x, g)
    torch.testing.assert_close(found, expected)


def test_gradient_of_soft_pool_numerically() -> None:
    assert torch.autograd.gradcheck(soft_pool, (clip(1, 2, 2, 3, 4).requires_grad_(),))


def test_two_cells() -> None:
    x = torch.tensor([0.0, math.log(3)]).view(1, 1, 1, 1, 2)
    assert abs(soft_pool(x).item() - 0.75 * math.log(3)) < 1e-6


def test_soft_pool_lies_between_mean_and_maximum_and_keeps_constants() -> None:
    x = clip()
    pooled = soft_pool(x)
    assert (pooled >= average_pool(x)).all()
    assert (pooled <= by_windows(x, (1, 2, 2), lambda cells: cells.amax(2))).all()
    for value in (3.0, -3.0):
        torch.testing.assert_close(soft_pool(torch.full((1, 2, 2, 5, 4), value)), torch.full((1, 2, 2, 3, 2), value))


def test_soft_pool_follows_a_shift_and_so_its_gradient_sums_to_one_in_each_window() -> None:
    x = clip(h=5).requires_grad_()
    pooled = soft_pool(x)
    torch.testing.assert_close(soft_pool(x + 7.5), pooled + 7.5)
    (gradient,) = torch.autograd.grad(pooled.sum(), x)
    for _, cells in windows(gradient, (1, 2, 2)):
        torch.testing.assert_close(cells.sum(2), torch.ones_like(cells[:, :, 0]))


def test_soft_pool_limits() -> None:
    x = clip()
    torch.testing.assert_close(soft_pool(x * 1e5) / 1e5, by_windows(x, (1, 2, 2), lambda cells: cells.amax(2)))
    torch.testing.assert_close(soft_pool(x * 1e-9) * 1e9, average_pool(x), rtol=1e-6, atol=1e-8)


def test_soft_pool_does_not_care_for_the_order_of_cells_and_keeps_channels_and_frames_apart() -> None:
    x = clip()
    swapped = x.clone()
    swapped[..., 0::2], swapped[..., 1::2] = x[..., 1::2], x[..., 0::2]
    torch.testing.assert_close(soft_pool(swapped), soft_pool(x))
    changed = x.clone()
    changed[:, 1, 2] += torch.randn(6, 8, dtype=torch.float64)
    differs = (soft_pool(changed) != soft_pool(x)).any(4).any(3).any(0)
    assert differs.nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_half_precision_is_finite_on_large_activations(dtype: torch.dtype, pooling: Pooling) -> None:
    x = (clip(c=16, t=6, h=7) * 500).to(dtype).requires_grad_()
    for training in (False, True):
        pooled = prolong(x, pooling, training)
        assert pooled.dtype == dtype
        assert pooled.isfinite().all()
    (gradient,) = torch.autograd.grad(pooled.float().sum(), x)
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()
    if pooling == "softpool+cosine":
        exact = soft_pool(x.detach().double())
        torch.testing.assert_close(soft_pool(x).double(), exact, rtol=2 * torch.finfo(dtype).eps, atol=0.05)


def test_soft_pool_under_autocast_is_computed_in_float32() -> None:
    x = (clip() * 500).float()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(soft_pool(x), soft_pool(x.double()).float(), rtol=1e-6, atol=1e-3)


def test_soft_pool_keeps_only_its_input_and_output_for_the_gradient() -> None:
    x = clip().requires_grad_()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        out = soft_pool(x)
    assert sorted(t.numel() for t in kept) == [out.numel(), x.numel()]


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last_3d])
def test_memory_format_is_kept_and_does_not_matter(memory: torch.memory_format) -> None:
    x = clip(h=7).contiguous(memory_format=memory).requires_grad_()
    pooled = soft_pool(x)
    assert pooled.is_contiguous(memory_format=memory)
    assert torch.equal(pooled, soft_pool(x.detach()))
    torch.testing.assert_close(pooled, soft_pool(clip(h=7)), rtol=1e-14, atol=1e-14)


def test_pieces_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x = clip(t=7).requires_grad_()
    whole = [soft_pool(x, (2, 2, 2)), *torch.autograd.grad(soft_pool(x, (2, 2, 2)).square().sum(), x)]
    monkeypatch.setattr("kinema.ops.pooling._CPU_CHUNK", 1)
    small = [soft_pool(x, (2, 2, 2)), *torch.autograd.grad(soft_pool(x, (2, 2, 2)).square().sum(), x)]
    assert all(torch.equal(a, b) for a, b in zip(whole, small, strict=True))


def test_exported_form_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x = clip(t=3, h=7) * 20
    expected = soft_pool(x, (2, 2, 2))
    monkeypatch.setattr("torch.compiler.is_compiling", lambda: True)
    torch.testing.assert_close(soft_pool(x, (2, 2, 2)), expected)
    assert soft_pool((x * 30).half(), (2, 2, 2)).isfinite().all()


def test_stochastic_pooling_draws_cells_in_proportion_to_their_activations() -> None:
    torch.manual_seed(0)
    x = torch.tensor([1.0, 3.0, 0.0, -5.0]).view(1, 1, 1, 2, 2).expand(4000, 1, 1, 2, 2)
    drawn = stochastic_pool(x, training=True).flatten()
    assert set(drawn.tolist()) == {1.0, 3.0}
    assert abs((drawn == 3).float().mean() - 0.75) < 0.03
    assert stochastic_pool(x[:1]).item() == 2.5
    zeros = torch.zeros(1, 1, 1, 3, 3)
    assert torch.equal(stochastic_pool(zeros, training=True), torch.zeros(1, 1, 1, 2, 2))


def test_stochastic_pooling_passes_the_gradient_to_the_drawn_cell() -> None:
    torch.manual_seed(1)
    x = clip().abs().requires_grad_()
    (gradient,) = torch.autograd.grad(stochastic_pool(x, training=True).sum(), x)
    assert set(gradient.unique().tolist()) == {0.0, 1.0}
    assert gradient.sum() == x.numel() / 4


@pytest.mark.parametrize(
    ("pooling", "frames"),
    [("average", 7), ("max", 7), ("stochastic", 7), ("softpool", 7), ("average+cosine", 6), ("softpool+cosine", 6)],
)
def test_prolong_halves_everything(pooling: Pooling, frames: int) -> None:
    assert prolong(clip(t=13, h=7, w=9), pooling).shape == (2, 5, frames, 4, 5)
    for t in (1, 2):
        assert prolong(clip(t=t), pooling).shape[2] == (t if "cosine" in pooling else 1)
    assert prolong(clip(t=3, h=1, w=1), pooling).shape[3:] == (1, 1)


def test_prolong_pools_first_and_selects_then() -> None:
    x = clip(t=8)
    for pooling, pool in (("softpool+cosine", soft_pool), ("average+cosine", average_pool)):
        assert torch.equal(prolong(x, pooling), select_frames(pool(x), 4)[0])  # type: ignore[arg-type]
    torch.testing.assert_close(prolong(x, "softpool"), soft_pool(x, (2, 2, 2)))
    torch.testing.assert_close(prolong(x, "average"), average_pool(x, (2, 2, 2)))
    torch.testing.assert_close(prolong(x, "max"), by_windows(x, (2, 2, 2), lambda cells: cells.amax(2)))


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(KinemaError, match="N C T H W"):
        soft_pool(torch.zeros(2, 3, 4, 4))
    for kernel in ((1, 2), (1, 0, 2), (1, 2.0, 2)):
        with pytest.raises(KinemaError, match=r"soft_pool: kernel is .* 3 values"):
            soft_pool(clip(), kernel)  # type: ignore[arg-type]
    with pytest.raises(KinemaError, match=r"prolong: pooling is 'softpol.cosine'; choose from 'softpool.cosine', "):
        prolong(clip(), "softpol+cosine")  # type: ignore[arg-type]
