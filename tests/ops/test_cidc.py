"""The directional convolution and spatial attention against slow, obvious references (CIDC, equations 1 and 3 to 5)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.ops import DirectionalConv, spatial_attention
from kinema.ops.cidc import by_convolution, by_einsum, combine, directional_kernels, visibility

NORMALISE = ["matrix", "row", "affine", "none"]
SIZES = [(8, 8), (8, 4), (4, 8), (13, 7), (5, 3), (1, 1), (3, 1), (1, 2)]


def clip(n: int = 2, c: int = 6, t: int = 8, h: int = 3, w: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, c, t, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def conv(c: int = 6, t_in: int = 8, t_out: int = 8, seed: int = 0, **options: object) -> DirectionalConv:
    torch.manual_seed(seed)
    return DirectionalConv(c, t_in, t_out, **options)


def slow_rows(k: Tensor, t_in: int) -> list[list[float]]:
    """Equation 5 on one channel: the softmax of each row over what it may see, nothing for the rest."""
    rows = []
    for t in range(len(k)):
        seen = math.ceil((t + 1) * t_in / len(k))
        top = max(float(v) for v in k[t, :seen])
        powers = [math.exp(float(v) - top) for v in k[t, :seen]]
        rows.append([p / sum(powers) for p in powers])
    return rows


def slow_kernel(k: Tensor, t_in: int, normalise: str) -> Tensor:
    """One channel, T' T."""
    rows = slow_rows(k, t_in)
    low, high = min(min(row) for row in rows), max(max(row) for row in rows)
    found = torch.zeros(len(k), t_in)
    for t, row in enumerate(rows):
        if normalise == "row":
            low, high = min(row), max(row)
        for s, p in enumerate(row):
            if normalise in ("matrix", "row"):
                found[t, s] = 1 if high - low < 1e-9 else 2 * (p - low) / (high - low) - 1
            else:
                found[t, s] = 2 * p - 1 if normalise == "affine" else p
    return found


def slow_combine(x: Tensor, kernels: Tensor) -> Tensor:
    """Equation 1: a channel and a step at a time."""
    n, c, t, h, w = x.shape
    out = x.new_zeros(n, c, kernels.shape[1], h, w)
    for channel in range(c):
        for o in range(kernels.shape[1]):
            for s in range(t):
                out[:, channel, o] += kernels[channel, o, s] * x[:, channel, s]
    return out


# ---- what a step may see


@pytest.mark.parametrize(
    ("t_in", "t_out", "counts"),
    [
        (4, 4, [1, 2, 3, 4]),
        (8, 4, [2, 4, 6, 8]),
        (4, 8, [1, 1, 2, 2, 3, 3, 4, 4]),
        (12, 4, [3, 6, 9, 12]),
        (5, 3, [2, 4, 5]),
        (1, 1, [1]),
        (7, 1, [7]),
    ],
)
def test_progressive_rule(t_in: int, t_out: int, counts: list[int]) -> None:
    seen = visibility(t_in, t_out)
    assert seen.sum(1).tolist() == counts
    for row, count in zip(seen, counts, strict=True):
        assert row[:count].all() and not row[count:].any()


@pytest.mark.parametrize(("t_in", "t_out"), [(t, o) for t in range(1, 18) for o in range(1, 18)])
def test_rows_grow_none_is_empty_and_the_last_sees_all(t_in: int, t_out: int) -> None:
    seen = visibility(t_in, t_out)
    assert (seen[1:] >= seen[:-1]).all()
    assert seen[:, 0].all() and seen[-1].all()
    soft = visibility(t_in, t_out, "bilinear")
    assert (soft[:, 0] > 0).all() and (soft >= 0).all() and (soft <= 1).all()


def test_the_bilinear_mask_is_the_resized_triangle() -> None:
    for t in (1, 4, 9):
        assert torch.equal(visibility(t, t, "bilinear"), visibility(t, t))
    # 8 -> 4: row t lies between the rows 2 t and 2 t + 1 of the triangle; 16 -> 4: between 4 t + 1 and 4 t + 2.
    assert visibility(8, 4, "bilinear")[1].tolist() == [1, 1, 1, 0.5, 0, 0, 0, 0]
    assert (visibility(8, 4, "bilinear") > 0).sum(1).tolist() == [2, 4, 6, 8]
    assert visibility(16, 4, "bilinear")[-1].tolist() == [1] * 14 + [0.5, 0]
    kernels = directional_kernels(torch.zeros(1, 4, 8), visibility(8, 4, "bilinear"), "none")
    torch.testing.assert_close(kernels[0, 1], torch.tensor([1, 1, 1, 0.5, 0, 0, 0, 0]) / 3.5)


# ---- kernels


@pytest.mark.parametrize("normalise", NORMALISE)
@pytest.mark.parametrize(("t_in", "t_out"), SIZES)
def test_kernels_are_equation_5_and_the_normalisation(t_in: int, t_out: int, normalise: str) -> None:
    k = torch.randn(5, t_out, t_in, generator=torch.Generator().manual_seed(1))
    found = directional_kernels(k, visibility(t_in, t_out), normalise)
    torch.testing.assert_close(found, torch.stack([slow_kernel(c, t_in, normalise) for c in k]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalise", NORMALISE)
@pytest.mark.parametrize("mask", ["progressive", "bilinear"])
def test_masked_entries_are_exactly_zero_and_the_others_in_range(normalise: str, mask: str) -> None:
    for t_in, t_out in SIZES:
        seen = visibility(t_in, t_out, mask)
        k = torch.randn(7, t_out, t_in)
        plain = directional_kernels(k, seen, "none")
        torch.testing.assert_close(plain.sum(2), torch.ones(7, t_out))
        found = directional_kernels(k, seen, normalise)
        assert (found[:, seen == 0] == 0).all()
        assert (found >= -1).all() and (found <= 1).all()


def test_matrix_scales_a_channel_and_row_a_row() -> None:
    k = torch.randn(9, 8, 8)
    seen = visibility(8, 8)
    matrix, row = directional_kernels(k, seen, "matrix"), directional_kernels(k, seen, "row")
    assert (matrix[:, 0, 0] == 1).all() and (row[:, 0, 0] == 1).all()
    assert (matrix.amin((1, 2)) == -1).all()
    for t in range(1, 8):
        assert (row[:, t, : t + 1].amax(1) == 1).all() and (row[:, t, : t + 1].amin(1) == -1).all()


def test_equal_weights_become_one() -> None:
    for normalise in ("matrix", "row"):
        assert (directional_kernels(torch.zeros(2, 3, 5), torch.ones(3, 5), normalise) == 1).all()
        assert directional_kernels(torch.randn(2, 1, 1), torch.ones(1, 1), normalise).flatten().tolist() == [1, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [0.0, 1e4, -1e4, 6e4])
@pytest.mark.parametrize("direction", ["bi", "uni", "none"])
def test_no_nan_whatever_k_is(dtype: torch.dtype, value: float, direction: str) -> None:
    for normalise in NORMALISE:
        for t_in, t_out in ((8, 8), (8, 4), (1, 1)):
            module = conv(4, t_in, t_out, direction=direction, normalise=normalise).to(dtype)
            with torch.no_grad():
                if value == 0:
                    module.k.zero_()
                else:
                    module.k.mul_(0).add_(torch.randn(module.k.shape).sign() * value)
            kernels = module.kernels()
            assert kernels.dtype == torch.float32 and kernels.isfinite().all()
            x = (torch.randn(1, 4, t_in, 2, 2) * 500).to(dtype)
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                y = module(x)
            assert y.isfinite().all()
            y.float().sum().backward()
            assert module.k.grad.isfinite().all()


# ---- the operator


@pytest.mark.parametrize("direction", ["bi", "uni", "none"])
@pytest.mark.parametrize(("t_in", "t_out"), SIZES)
def test_the_operator_is_equation_1(t_in: int, t_out: int, direction: str) -> None:
    module, x = conv(3, t_in, t_out, direction=direction).double(), clip(c=3, t=t_in)
    y = module(x)
    assert y.shape == (2, 3, t_out, 3, 4)
    first = t_out if direction != "bi" else math.ceil(t_out / 2)
    seen = torch.ones(t_out, t_in) if direction == "none" else None
    k = module.k.detach()
    forwards = directional_kernels(k[:, :first], visibility(t_in, first) if seen is None else seen)
    torch.testing.assert_close(y[:, :, :first], slow_combine(x, forwards.double()))
    if first < t_out:
        backwards = directional_kernels(k[:, first:], visibility(t_in, t_out - first))
        torch.testing.assert_close(y[:, :, first:], slow_combine(x.flip(2), backwards.double()))


@pytest.mark.parametrize("way", [by_convolution, by_einsum])
def test_convolution_and_einsum_agree(way: object) -> None:
    x, kernels = clip(), torch.randn(6, 5, 8, dtype=torch.float64)
    for laid_out in (x, x.contiguous(memory_format=torch.channels_last_3d), x[:, :, :, :2]):
        torch.testing.assert_close(way(laid_out, kernels), slow_combine(laid_out, kernels))  # type: ignore[operator]
    grouped = torch.nn.functional.conv2d(x.reshape(2, 48, 3, 4), kernels.reshape(30, 8, 1, 1), groups=6)
    torch.testing.assert_close(way(x, kernels), grouped.view(2, 6, 5, 3, 4))  # type: ignore[operator]
    last = x.contiguous(memory_format=torch.channels_last_3d)
    assert by_convolution(last, kernels).is_contiguous(memory_format=torch.channels_last_3d)


def test_what_it_picks(monkeypatch: pytest.MonkeyPatch) -> None:
    for way in ("by_convolution", "by_einsum"):
        monkeypatch.setattr(f"kinema.ops.cidc.{way}", lambda x, kernels, way=way: way)
    kernels = torch.zeros(1, 2, 2)
    picked = [
        combine(torch.zeros(1, 1, 2, 1, 1, dtype=d), kernels) for d in (torch.float32, torch.bfloat16, torch.float16)
    ]
    assert picked == ["by_convolution", "by_convolution", "by_einsum"]
    assert combine(torch.zeros(1, 1, 2, 1, 1, device="meta"), kernels) == "by_einsum"


def test_gradients() -> None:
    module = conv(2, 4, 4).double()
    x = clip(n=1, c=2, t=4, h=2, w=2).requires_grad_()
    # The kernels are float32 on purpose; their own gradient is checked against a small step of float32.
    assert torch.autograd.gradcheck(lambda y: module(y), (x,))
    k, seen = torch.randn(2, 4, 4), visibility(4, 4)
    weights = torch.randn(2, 4, 4)
    for normalise in NORMALISE:
        leaf = k.clone().requires_grad_()
        (directional_kernels(leaf, seen, normalise) * weights).sum().backward()
        step = torch.zeros_like(k)
        step[1, 2, 1] = 1e-2
        ahead, behind = ((directional_kernels(k + s, seen, normalise) * weights).sum() for s in (step, -step))
        torch.testing.assert_close(leaf.grad[1, 2, 1], (ahead - behind) / 2e-2, rtol=0.02, atol=1e-3)
        assert not leaf.grad[:, seen == 0].any()


@pytest.mark.parametrize("normalise", NORMALISE)
@pytest.mark.parametrize(("t_in", "t_out"), [(8, 8), (8, 4), (4, 8), (13, 7)])
def test_no_step_sees_later_ones(t_in: int, t_out: int, normalise: str) -> None:
    module = conv(3, t_in, t_out, direction="uni", normalise=normalise)
    for t in range(t_out):
        x = clip(n=1, c=3, t=t_in).float().requires_grad_()
        module(x)[:, :, t].sum().backward()
        reached = x.grad.abs().amax((0, 3, 4))  # C T
        seen = math.ceil((t + 1) * t_in / t_out)
        assert not reached[:, seen:].any()
        if normalise == "none":  # elsewhere a weight may be a chance zero
            assert reached[:, :seen].all()


def test_both_last_steps_depend_on_all_and_without_direction_every_step_does() -> None:
    module = conv(3, 8, 8, normalise="none")
    for t, seen in ((3, range(8)), (7, range(8)), (0, range(2)), (4, range(6, 8))):
        x = clip(n=1, c=3).float().requires_grad_()
        module(x)[:, :, t].sum().backward()
        assert x.grad.abs().sum((0, 1, 3, 4)).nonzero().flatten().tolist() == list(seen)
    x = clip(n=1, c=3).float().requires_grad_()
    conv(3, 8, 8, direction="none", normalise="none")(x)[:, :, 0].sum().backward()
    assert x.grad.abs().sum((0, 1, 3, 4)).all()


@pytest.mark.parametrize("normalise", NORMALISE)
def test_with_equal_kernels_reversing_the_clip_swaps_the_halves(normalise: str) -> None:
    module, x = conv(3, 8, 6, normalise=normalise).double(), clip(c=3)
    with torch.no_grad():
        module.k[:, 3:] = module.k[:, :3]
    y, reversed_y = module(x), module(x.flip(2))
    torch.testing.assert_close(reversed_y, torch.cat([y[:, :, 3:], y[:, :, :3]], 2))
    assert not torch.allclose(y[:, :, :3], y[:, :, 3:])


def test_channels_do_not_meet() -> None:
    x = clip(n=1, c=4).float().requires_grad_()
    conv(4)(x)[:, 2].sum().backward()
    assert x.grad.abs().amax((0, 2, 3, 4)).nonzero().flatten().tolist() == [2]


def test_parameters() -> None:
    assert sum(p.numel() for p in DirectionalConv(5, 8, 4).parameters()) == 5 * 4 * 8
    assert list(DirectionalConv(5, 8, 4).state_dict()) == ["k"]


def test_another_number_of_steps_is_one_sentence() -> None:
    with pytest.raises(KinemaError, match=r"for 8 steps received 5: give clips of the length .* \(clip\.frames\)$"):
        conv()(clip(t=5))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"direction": "both"}, "DirectionalConv: direction is 'both'"),
        ({"normalise": "rows"}, "DirectionalConv: normalise is 'rows'; choose from 'row', "),
        ({"mask": "linear"}, "DirectionalConv: mask is 'linear'; choose from 'bilinear', "),
        ({"t_out": 0}, "DirectionalConv: t_out is 0; give "),
        ({"t_in": 2.0}, "DirectionalConv: t_in is 2.0; give "),
        ({"c": 0}, "DirectionalConv: channels is 0; give "),
    ],
)
def test_bad_options(options: dict[str, object], says: str) -> None:
    with pytest.raises(KinemaError) as caught:
        conv(**options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(says)


# ---- spatial attention


def test_spatial_attention_is_equation_3() -> None:
    x = clip()
    expected = torch.zeros(2, 1, 8, 3, 4, dtype=torch.float64)
    for n in range(2):
        for t in range(8):
            for i in range(3):
                for j in range(4):
                    expected[n, 0, t, i, j] = 1 / (1 + math.exp(-float(x[n, :, t, i, j].sum()) / 6))
    torch.testing.assert_close(spatial_attention(x), expected)
    assert (spatial_attention(torch.full((1, 3, 2, 2, 2), 0.0)) == 0.5).all()


def test_spatial_attention_in_half_precision_does_not_overflow() -> None:
    x = torch.full((1, 64, 1, 1, 1), -3000.0, dtype=torch.float16)  # the sum is beyond float16
    y = spatial_attention(torch.cat([x, -x, x * 0], 3))
    assert y.dtype == torch.float16 and y.flatten().tolist() == [0, 1, 0.5]


@pytest.mark.parametrize("normalise", ["row", "matrix"])
def test_nearly_equal_weights_have_bounded_gradients(normalise: str) -> None:
    k = (1e-7 * torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))).requires_grad_()
    kernels = directional_kernels(k, torch.ones(4, 4), normalise)  # type: ignore[arg-type]
    assert kernels.min() >= -1 and kernels.max() <= 1
    kernels.sum().backward()
    assert k.grad is not None
    assert k.grad.abs().max() < 1e5


# ---- kernels wider than a position


@pytest.mark.parametrize("normalise", NORMALISE)
@pytest.mark.parametrize("direction", ["bi", "uni", "none"])
def test_wide_kernels_are_the_sum_over_steps_and_neighbours(normalise: str, direction: str) -> None:
    torch.manual_seed(0)
    conv = DirectionalConv(3, 4, 5, direction=direction, normalise=normalise, kernel_size=3)
    x = torch.randn(2, 3, 4, 5, 6)
    kernels, padded = conv.kernels(), F.pad(x, (1, 1, 1, 1))
    assert kernels.shape == (3, 5, 4, 3, 3)
    expected = torch.zeros(2, 3, 5, 5, 6)
    for o in range(5):
        for t in range(4):
            for i in range(3):
                for j in range(3):
                    weight = kernels[:, o, t, i, j].view(3, 1, 1)
                    expected[:, :, o] += weight * padded[:, :, t, i : i + 5, j : j + 6]
    torch.testing.assert_close(conv(x), expected)
    assert conv(x).is_contiguous(memory_format=torch.channels_last_3d)


def test_wide_kernels_see_the_steps_that_narrow_ones_see_and_share_one_softmax() -> None:
    torch.manual_seed(0)
    wide, narrow = (DirectionalConv(3, 8, 8, normalise="none", kernel_size=k) for k in (3, 1))
    assert torch.equal((wide.kernels() != 0).all(-1).all(-1), narrow.kernels() != 0)
    torch.testing.assert_close(wide.kernels().sum((2, 3, 4)), torch.ones(3, 8))
    scaled = DirectionalConv(3, 8, 8, kernel_size=3).kernels()
    assert scaled.min() == -1 and scaled.max() == 1


def test_the_default_normalisation_presses_late_steps_towards_minus_one() -> None:
    """The figures are those in the recipes of CIDC; with `row` they are smaller."""
    torch.manual_seed(0)
    means = {}
    for normalise in ("matrix", "row"):
        kernels = DirectionalConv(2048, 8, 8, normalise=normalise).kernels()[:, :4]
        means[normalise] = [step[step != 0].mean().item() for step in kernels.unbind(1)]
    assert means["matrix"] == pytest.approx([0.37, -0.34, -0.58, -0.70], abs=0.02)
    assert min(means["row"]) > -0.4


@pytest.mark.parametrize("kernel_size", [0, 2, -1, 1.5, True])
def test_a_kernel_has_an_odd_size(kernel_size: object) -> None:
    with pytest.raises(KinemaError, match="kernel_size"):
        DirectionalConv(3, 4, 4, kernel_size=kernel_size)
