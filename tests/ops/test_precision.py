"""No operator computes narrower than its input: float64 stays float64, as references in float64 show."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from kinema import ops
from kinema.errors import KinemaError
from kinema.ops.cidc import directional_kernels, visibility
from kinema.ops.precision import mean, wide_dtype

CLASSES = torch.randn(5, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def clip(channels: int = 16, frames: int = 6) -> Tensor:
    made = torch.randn(2, channels, frames, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return made.contiguous(memory_format=torch.channels_last_3d)


class Regularised(ops.ClassRegularisation):
    def forward(self, x: Tensor, classifier_weight: Tensor = CLASSES) -> Tensor:
        return super().forward(x, classifier_weight.to(x.dtype))


OPERATORS: dict[str, Callable[[], Callable[[Tensor], Any]]] = {
    "temporal_shift": lambda: ops.temporal_shift,
    "temporal_shift, causal": lambda: lambda x: ops.temporal_shift(x, 4, True),
    "soft_pool": lambda: ops.soft_pool,
    "soft_pool in time": lambda: lambda x: ops.soft_pool(x, (2, 2, 2)),
    "select_frames": lambda: lambda x: ops.select_frames(x, 3)[0],
    "triplet_scores": lambda: lambda x: ops.triplet_scores(x.mean((3, 4))),
    "soft_nearest": lambda: lambda x: ops.soft_nearest(x[..., 0, 0], x[..., 1, 1]),
    "spatial_attention": lambda: ops.spatial_attention,
    "CSTM": lambda: ops.CSTM(16, 16, init="random"),
    "CSTM, causal": lambda: ops.CSTM(16, 16, 2, init="random", causal=True),
    "CSTM, ordinary": lambda: ops.CSTM(16, 16, init="random", temporal="ordinary"),
    "CMM": lambda: ops.CMM(16, 16, 2, zero_restore=False),
    "MTConv": lambda: ops.MTConv(16, 16, 3, (1, 2, 2)),
    "MTConv, octave": lambda: ops.MTConv(16, 16, 3, split="octave"),
    "MTConv, channel-wise": lambda: ops.MTConv(16, 16, 3, groups=16),
    "NonLocal": lambda: ops.NonLocal(16),
    "NonLocal, dot product": lambda: ops.NonLocal(16, attention="dot_product"),
    "SqueezeRecursion": lambda: ops.SqueezeRecursion(16, gate="hard", fusion="residual"),
    "SqueezeRecursion, peephole": lambda: ops.SqueezeRecursion(16, cell="peephole", fusion="add"),
    "DirectionalConv": lambda: ops.DirectionalConv(16, 6, 4),
    "DirectionalConv, bilinear": lambda: ops.DirectionalConv(16, 6, 4, mask="bilinear", normalise="row"),
    "ClassRegularisation": lambda: Regularised(12, 16, 0.5),
    "ClassRegularisation, symmetric": lambda: Regularised(12, 16, 0.3, bounds="symmetric"),
}


class NothingNarrow(TorchDispatchMode):
    """Fails at the first operation on float64 whose result is narrower."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        wide = any(isinstance(given, Tensor) and given.dtype == torch.float64 for given in args)
        for found in result if isinstance(result, tuple | list) else (result,):
            if wide and isinstance(found, Tensor) and found.is_floating_point() and found.numel() > 1:
                assert found.dtype == torch.float64, f"{function} computes in {found.dtype}"
        return result


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("training", [False, True])
def test_float64_stays_float64_at_every_step(name: str, training: bool) -> None:
    torch.manual_seed(0)
    operator = OPERATORS[name]()
    if isinstance(operator, nn.Module):
        operator = operator.double().train(training)
    x = clip().requires_grad_()
    with NothingNarrow():
        y = operator(x)
        assert y.dtype == torch.float64
        y.square().sum().backward()
    assert x.grad is not None and x.grad.dtype == torch.float64


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_narrower_dtypes_stay_and_are_near_the_result_in_float64(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    operator = OPERATORS[name]()
    x = clip().to(dtype)
    exact = operator
    if isinstance(operator, nn.Module):
        operator = operator.to(dtype).eval()
        exact = copy.deepcopy(operator).double()  # after the rounding of the weights
    if name == "triplet_scores" or name == "soft_nearest":
        assert operator(x).dtype == torch.float32
    else:
        assert operator(x).dtype == dtype
    found, expected = operator(x).double(), exact(x.double())
    tolerance = {torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}[dtype]
    assert (found - expected).abs().max() < tolerance * max(1.0, expected.abs().max().item())


def test_class_regularisation_is_its_algorithm_in_float64() -> None:
    module, x = ops.ClassRegularisation(12, 16, 0.4).double(), clip()
    rows = (CLASSES @ module.weight.T).clamp_min(0)
    for n in range(2):
        row = rows[max(range(5), key=lambda k: float((rows[k] @ x[n].mean((1, 2, 3))).detach()))]
        gain = 0.4 + 0.6 * (row - row.min()) / (row.max() - row.min())
        torch.testing.assert_close(module(x, CLASSES)[n], x[n] * gain[:, None, None, None], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("mask", ["progressive", "bilinear"])
def test_directional_kernels_are_equation_5_in_float64(mask: str) -> None:
    torch.manual_seed(0)
    conv = ops.DirectionalConv(3, 7, 3, direction="uni", normalise="affine", mask=mask).double()
    seen = visibility(7, 3, mask, torch.float64)  # type: ignore[arg-type]
    for c in range(3):
        for t in range(3):
            weights = [float(s) * math.exp(float(k)) for s, k in zip(seen[t], conv.k.detach()[c, t], strict=True)]
            for s in range(7):
                expected = 2 * weights[s] / sum(weights) - 1 if weights[s] else 0.0
                assert abs(float(conv.kernels().detach()[c, t, s]) - expected) < 1e-14


def test_the_widest_of_several_counts() -> None:
    assert wide_dtype(torch.ones(1).half()) == wide_dtype(torch.ones(1).bfloat16()) == torch.float32
    assert wide_dtype(torch.ones(1), torch.ones(1).double()) == torch.float64
    x = clip()
    assert ops.ClassRegularisation(12, 16, 0.5)(x, CLASSES.float()).dtype == torch.float64
    k = torch.randn(2, 3, 4, dtype=torch.float64)
    assert directional_kernels(k, visibility(4, 3)).dtype == torch.float64
    half = torch.full((1, 2, 70000), 1.0).half()
    assert mean(half, (2,)).eq(1).all() and mean(x, (2, 3, 4), keepdim=True).shape == (2, 16, 1, 1, 1)
    with pytest.raises(KinemaError, match="ClassRegularisation: strength"):
        ops.ClassRegularisation(12, 16, torch.tensor(0.5))  # type: ignore[arg-type]
