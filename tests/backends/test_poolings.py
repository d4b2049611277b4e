"""Compiled SoftPools: the same results as the operator, for all sizes, and in networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kinema.backends.base import Backend
from kinema.backends.choose import choose
from kinema.backends.convolutions import convolution_faults
from kinema.backends.packing import Packed
from kinema.backends.poolings import CompiledProlong, SoftPool
from kinema.backends.pytorch import no_compiler
from kinema.errors import KinemaError
from kinema.models import create_model
from kinema.ops.mtconv import MTConv
from kinema.ops.pooling import Pooling, prolong

pytestmark = pytest.mark.skipif(no_compiler() is not None, reason="there is no C++ compiler")


@pytest.fixture(scope="module", params=["softpool", "softpool+cosine"])
def pooling(request: pytest.FixtureRequest) -> Pooling:
    return request.param


@pytest.fixture(scope="module")
def compiled(pooling: Pooling) -> dict[torch.dtype, CompiledProlong]:
    return {dtype: CompiledProlong(pooling, dtype) for dtype in (torch.float32, torch.bfloat16)}


def clip(*size: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*size, generator=torch.Generator().manual_seed(sum(size)))


@pytest.mark.parametrize("scale", [1.0, 1e-3, 300.0])
@pytest.mark.parametrize(
    "size",
    [(1, 24, 8, 16, 16), (2, 5, 7, 9, 11), (1, 1, 1, 1, 1), (3, 17, 2, 3, 2), (1, 54, 13, 1, 6), (2, 3, 5, 2, 2)],
)
def test_clips_of_any_size_agree(
    compiled: dict[torch.dtype, CompiledProlong], pooling: Pooling, size: tuple[int, ...], scale: float
) -> None:
    x = clip(*size, scale=scale)
    for memory in (torch.contiguous_format, torch.channels_last_3d):
        found = compiled[torch.float32](x.contiguous(memory_format=memory))
        torch.testing.assert_close(found, prolong(x, pooling), rtol=1e-5, atol=1e-6 * scale)


def test_bfloat16_is_rounded_once(compiled: dict[torch.dtype, CompiledProlong], pooling: Pooling) -> None:
    x = clip(2, 21, 6, 10, 12).bfloat16()
    found = compiled[torch.bfloat16](x)
    assert found.dtype == torch.bfloat16
    expected = prolong(x, pooling)
    # One unit in the last place: the sums differ in their last bits before they are rounded.
    torch.testing.assert_close(found.float(), expected.float(), rtol=2**-7, atol=1e-6)
    assert (found != expected).float().mean() < 0.01


def test_other_dtypes_and_empty_batches_are_left_to_the_operator(
    compiled: dict[torch.dtype, CompiledProlong], pooling: Pooling
) -> None:
    x = clip(1, 3, 6, 4, 4).double()
    assert torch.equal(compiled[torch.float32](x), prolong(x, pooling))
    assert compiled[torch.float32](torch.zeros(0, 3, 6, 4, 4)).shape == (0, 3, 3, 2, 2)


@pytest.mark.parametrize("name", ["mtnet_s", "mtnet_s_table", "mtconv_r50"])
def test_a_network_keeps_its_answers(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, num_classes=5, width=0.25).eval()
    clips = torch.randn(3, 3, 9, 50, 50)
    with torch.no_grad():
        run = SoftPool().build(network, clips)
        for x in (clips, clips[:1], torch.randn(2, 3, 6, 40, 36)):
            torch.testing.assert_close(run(x), network(x), rtol=1e-4, atol=1e-4)
    assert all(part.halve is None for part in network.modules() if isinstance(part, MTConv))


@pytest.mark.parametrize("backend", [SoftPool(), Packed()])
def test_backends_of_few_networks_pass_the_check_of_3d_convolutions(backend: Backend) -> None:
    """The network of that check has neither SoftPool nor 2-D convolutions."""
    assert convolution_faults(backend) == []


@pytest.mark.parametrize("options", [{"pooling": "average+cosine"}, {"delta": 1.0}])
def test_a_network_without_softpool_is_refused(options: dict[str, object]) -> None:
    network = create_model("mtconv_r50", num_classes=3, width=0.25, **options).eval()
    with pytest.raises(KinemaError, match="it has no SoftPool"):
        SoftPool().build(network, torch.randn(1, 3, 4, 32, 32))


def test_the_choice_states_it() -> None:
    network = create_model("tsn_r18", num_classes=3, width=0.125).eval()
    chosen = choose(network, torch.randn(2, 3, 4, 32, 32), backends={"softpool": SoftPool()}, store=False)
    (trial,) = [trial for trial in chosen.report.trials if trial.name == "softpool"]
    assert (trial.verdict, trial.reason) == ("failed", "it has no SoftPool")
