"""The non-local block against loops over positions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.ops import NonLocal
from kinema.ops.nonlocal_attention import attend

SHAPE = (2, 6, 3, 4, 5)
CASES = [
    (attention, sub_sample, scaled)
    for attention in ("embedded_gaussian", "gaussian", "dot_product")
    for sub_sample in ("none", "after", "before")
    for scaled in (False, True)
    if not (scaled and attention == "dot_product")
]


def clip(*shape: int, seed: int = 0) -> Tensor:
    made = torch.randn(shape or SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made.contiguous(memory_format=torch.channels_last_3d)


def block(attention: str = "embedded_gaussian", sub_sample: str = "after", scaled: bool = False) -> NonLocal:
    """Nothing in it is zero, so that every part shows."""
    torch.manual_seed(1)
    made = NonLocal(6, attention=attention, sub_sample=sub_sample, scaled=scaled).double()
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.randn_like(p) * 0.5)
        made.bn.running_mean.normal_()
        made.bn.running_var.uniform_(0.5, 2)
    return made.eval()


def maxima(x: Tensor) -> Tensor:
    """C T H W -> C T H//2 W//2, pixel by pixel."""
    c, t, h, w = x.shape
    found = x.new_zeros(c, t, h // 2, w // 2)
    for i in range(h // 2):
        for j in range(w // 2):
            found[:, :, i, j] = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].amax((2, 3))
    return found


def pointwise(conv: nn.Module, x: Tensor) -> Tensor:
    return torch.einsum("oc,cthw->othw", conv.weight[:, :, 0, 0, 0], x) + conv.bias[:, None, None, None]


def slow(made: NonLocal, x: Tensor) -> Tensor:
    results = []
    for sample in x:
        plain = made.attention == "gaussian"
        theta = sample if plain else pointwise(made.theta, sample)
        seen = maxima(sample) if made.sub_sample == "before" else sample
        phi, g = seen if plain else pointwise(made.phi, seen), pointwise(made.g, seen)
        if made.sub_sample == "after":
            phi, g = maxima(phi), maxima(g)
        phi, g = phi.flatten(1).T, g.flatten(1).T
        y = torch.zeros(made.g.out_channels, *sample.shape[1:], dtype=x.dtype)
        for t in range(sample.shape[1]):
            for h in range(sample.shape[2]):
                for w in range(sample.shape[3]):
                    products = [float(theta[:, t, h, w] @ key) for key in phi]
                    if made.attention == "dot_product":
                        weights = [p / len(phi) for p in products]
                    else:
                        root = math.sqrt(theta.shape[0]) if made.scaled else 1.0
                        weights = [math.exp(p / root) for p in products]
                        weights = [weight / sum(weights) for weight in weights]
                    y[:, t, h, w] = sum(weight * value for weight, value in zip(weights, g, strict=True))
        z = pointwise(made.out, y)
        bn = made.bn
        scale = bn.weight / (bn.running_var + bn.eps).sqrt()
        z = (z - bn.running_mean[:, None, None, None]) * scale[:, None, None, None] + bn.bias[:, None, None, None]
        results.append(sample + z)
    return torch.stack(results)


@pytest.mark.parametrize(("attention", "sub_sample", "scaled"), CASES)
def test_it_is_what_the_loops_give(attention: str, sub_sample: str, scaled: bool) -> None:
    made, x = block(attention, sub_sample, scaled), clip()
    with torch.no_grad():
        expected = slow(made, x)
        torch.testing.assert_close(made(x), expected)
        torch.testing.assert_close(made(x.contiguous()), expected)
        torch.testing.assert_close(made(x[1:]), expected[1:])
        assert made(x).is_contiguous(memory_format=torch.channels_last_3d)
    assert (expected - x).std() > 0.1


@pytest.mark.parametrize("attention", ["embedded_gaussian", "gaussian", "dot_product"])
def test_a_new_block_changes_nothing_and_learns_nevertheless(attention: str) -> None:
    x = clip().float()
    for train in (True, False):
        made = NonLocal(6, attention=attention).train(train)
        assert torch.equal(made(x), x)
    made.train()
    assert made(x).sum().requires_grad
    (made(x) ** 2).sum().backward()
    assert made.bn.weight.grad.any()


def test_every_weight_is_reached_once_the_last_norm_is_not_zero() -> None:
    for attention in ("embedded_gaussian", "dot_product"):
        made = block(attention)
        (made(clip()) ** 2).sum().backward()
        for name, p in made.named_parameters():
            # The same product added for all positions is nothing to a softmax.
            if (attention, name) != ("embedded_gaussian", "phi.bias"):
                assert p.grad.abs().max() > 1e-6, name


@pytest.mark.parametrize(("many", "few", "width"), [(3, 2, 40), (60, 50, 4)])
def test_both_bracketings_of_the_dot_product_agree(many: int, few: int, width: int) -> None:
    q, k, v = torch.randn(2, many, width), torch.randn(2, few, width), torch.randn(2, few, width)
    torch.testing.assert_close(attend(q, k, v, "dot_product"), (q @ k.mT / few) @ v, rtol=1e-4, atol=1e-4)


def test_the_order_of_frames_is_nothing_to_it() -> None:
    made, x = block(), clip()
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(made(x[:, :, order]), made(x)[:, :, order])


def test_an_odd_last_row_and_column_are_not_looked_at_but_still_look() -> None:
    made, x = block(sub_sample="before"), clip(1, 6, 2, 5, 3)
    other = x.clone()
    other[:, :, :, 4], other[..., 2] = 9.0, 9.0
    assert torch.equal(made(other)[..., :4, :2], made(x)[..., :4, :2])
    assert not torch.allclose(made(other)[..., 4, :], other[..., 4, :])


@pytest.mark.parametrize("shape", [(1, 6, 1, 1, 1), (2, 6, 4, 1, 3), (1, 6, 1, 2, 1)])
@pytest.mark.parametrize("sub_sample", ["none", "after", "before"])
def test_maps_of_one_pixel_run(shape: tuple[int, ...], sub_sample: str) -> None:
    assert block(sub_sample=sub_sample)(clip(*shape)).shape == shape


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("attention", ["embedded_gaussian", "dot_product"])
def test_products_are_of_full_precision_in_mixed_precision(dtype: torch.dtype, attention: str) -> None:
    q, k, v = (torch.randn(1, 32, 64, generator=torch.Generator().manual_seed(s)) * 40 for s in (0, 1, 2))
    expected = attend(q.to(dtype).double(), k.to(dtype).double(), v.to(dtype).double(), attention)
    with torch.autocast("cpu", dtype=dtype):
        found = attend(q.to(dtype), k.to(dtype), v.to(dtype), attention)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-2)
    made = NonLocal(8, attention=attention).to(dtype)
    nn.init.ones_(made.bn.weight)
    y = made(clip(2, 8, 2, 4, 4).to(dtype))
    assert y.dtype == dtype
    assert y.isfinite().all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"attention": "gausian"}, "NonLocal: attention is 'gausian'; choose from 'gaussian', "),
        ({"sub_sample": "befor"}, "NonLocal: sub_sample is 'befor'; choose from 'before', "),
        ({"attention": "dot_product", "scaled": True}, "NonLocal: scaled is True"),
    ],
)
def test_bad_options_are_one_sentence(options: dict, says: str) -> None:
    with pytest.raises(KinemaError) as caught:
        NonLocal(8, **options)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize("attention", ["embedded_gaussian", "dot_product"])
def test_it_exports(attention: str) -> None:
    made, x = block(attention), clip()
    torch.testing.assert_close(torch.export.export(made, (x,)).module()(x), made(x))
