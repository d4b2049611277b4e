"""Networks in which Winograd's method replaces convolutions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from explain.networks import clip, families, zoo
from torch import nn

from kinema.backends import winograd
from kinema.backends.pytorch import Bfloat16Compiled, no_bfloat16_units, no_compiler
from kinema.backends.winograd import Case, estimated_seconds, use_winograd, winograd_operations
from kinema.models import create_model
from kinema.ops.packing import no_packing
from kinema.ops.winograd import Winograd, fits

if no_packing() is not None:
    pytest.skip("PyTorch has no oneDNN here", allow_module_level=True)


def taking(seconds: Callable[[Case], tuple[float, float]]) -> Callable[[Case, torch.dtype], tuple[float, float]]:
    return lambda case, dtype: seconds(case)


@pytest.mark.parametrize("name", families())
@torch.no_grad()
def test_every_family_keeps_its_answers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "estimated_seconds", taking(lambda case: (2.0, 1.0)))
    network, x = zoo(name), clip()
    expected = network(x)
    before = {part for part in network.modules() if fits(part)}
    count = use_winograd(network, x, torch.float32)
    assert count == min(16, len(before))
    assert sum(isinstance(part, Winograd) for part in network.modules()) == count
    if count:
        torch.testing.assert_close(network(x), expected, rtol=1e-3, atol=1e-4)
    assert winograd_operations(network) == 85 * count


def chain(*channels: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Conv3d(a, b, (1, 3, 3), padding=(0, 1, 1)) for a, b in pairwise(channels))).eval()


def test_only_convolutions_that_gain_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def seconds(case: Case) -> tuple[float, float]:
        seen.append(case)
        return {4: (0.010, 0.008), 5: (0.010, 0.0095), 6: (0.0003, 0.0001), 7: (0.001, 0.002)}[case[-1]]

    monkeypatch.setattr(winograd, "estimated_seconds", taking(seconds))
    network = chain(3, 4, 5, 6, 7)
    assert use_winograd(network, torch.randn(2, 3, 4, 6, 8), torch.float32) == 1
    assert [isinstance(part, Winograd) for part in network] == [True, False, False, False]
    assert set(seen) == {(8, 6, 8, 3, 4), (8, 6, 8, 4, 5), (8, 6, 8, 5, 6), (8, 6, 8, 6, 7)}


def test_those_that_save_most_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "_MOST", 1)
    monkeypatch.setattr(winograd, "estimated_seconds", taking(lambda case: (0.001 * case[-1], 0.0005 * case[-1])))
    network = chain(3, 4, 6, 5)
    assert use_winograd(network, torch.randn(1, 3, 4, 6, 8), torch.float32) == 1
    assert [isinstance(part, Winograd) for part in network] == [False, True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_times_grow_with_the_work(dtype: torch.dtype) -> None:
    small, large = estimated_seconds((2, 8, 8, 16, 16), dtype), estimated_seconds((8, 28, 28, 128, 128), dtype)
    assert all(0 < few < many for few, many in zip(small, large, strict=True))


@pytest.mark.skipif(no_compiler() is not None, reason="there is no C++ compiler")
@pytest.mark.skipif(no_bfloat16_units() is not None, reason="this processor has no bfloat16 instructions")
@torch.no_grad()
def test_a_compiled_network_keeps_its_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "estimated_seconds", taking(lambda case: (2.0, 1.0)))
    monkeypatch.setattr(winograd, "_MOST", 2)
    torch.manual_seed(0)
    network = create_model("tsn_r18", num_classes=50, width=0.125).eval()
    clips = torch.randn(2, 3, 4, 32, 32)
    expected = network(clips)
    found = Bfloat16Compiled().build(network, clips)(clips)
    assert (found - expected).abs().max() < 0.2 * expected.std()
    assert not any(isinstance(part, Winograd) for part in network.modules())
