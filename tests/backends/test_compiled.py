"""Networks that are compiled as a whole, and networks in bfloat16."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn

from kinema.backends.base import Backend
from kinema.backends.convolutions import convolution_faults
from kinema.backends.poolings import Bfloat16SoftPool
from kinema.backends.pytorch import (
    Bfloat16,
    Bfloat16Compiled,
    Compiled,
    InBfloat16,
    PooledPixels,
    no_bfloat16_units,
    no_compiler,
)
from kinema.models import create_model
from kinema.ops.recurrence import Recurrent

pytestmark = pytest.mark.skipif(no_compiler() is not None, reason="there is no C++ compiler")


_OLD = torch.__version__.startswith("2.6")
_NAMES = [
    pytest.param("stm_r18", marks=pytest.mark.slow),
    pytest.param("srtg_r3d_34", marks=pytest.mark.skipif(_OLD, reason="the program that PyTorch 2.6 makes fails")),
]


@pytest.mark.parametrize("name", _NAMES)
def test_a_network_keeps_its_answers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    torch.manual_seed(0)
    network = create_model(name, num_classes=5, width=0.125).eval()
    clips = torch.randn(3, 3, 4, 32, 32)
    with torch.inference_mode():
        run = Compiled().build(network, clips)
        for x in (clips, clips[:1], torch.cat([clips, clips])):
            torch.testing.assert_close(run(x), network(x), rtol=1e-4, atol=1e-4)
    assert not list(tmp_path.rglob("network.pt2"))


@pytest.mark.skipif(no_bfloat16_units() is not None, reason="this processor has no bfloat16 instructions")
@pytest.mark.parametrize(
    ("backend", "name", "width", "frames", "side"),
    [
        (Bfloat16(), "tsn_r18", 0.125, 4, 32),
        (Bfloat16Compiled(), "tsn_r18", 0.125, 4, 32),
        (Bfloat16SoftPool(), "mtconv_r50", 0.25, 8, 48),
    ],
)
def test_bfloat16_is_close(backend: Backend, name: str, width: float, frames: int, side: int) -> None:
    torch.manual_seed(0)
    network = create_model(name, num_classes=50, width=width).eval()
    clips = torch.randn(2, 3, frames, side, side)
    with torch.no_grad():
        expected = network(clips)
        found = backend.build(network, clips)(clips)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 0.2 * expected.std()


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_a_pooling_in_channels_last_memory(size: tuple[int, int]) -> None:
    pool = nn.MaxPool2d(3, 2, 1)
    for x in (torch.randn(2, 6, *size), torch.randn(2, *size, 6).permute(0, 3, 1, 2)):
        found = PooledPixels(pool)(x)
        assert torch.equal(found, pool(x))
        assert found.is_contiguous(memory_format=torch.channels_last)


def test_3d_convolutions_are_right() -> None:
    assert convolution_faults(Compiled()) == []


def test_recurrent_layers_stay_in_float32() -> None:
    network = create_model("srtg_r3d_34", num_classes=5, width=0.125).eval()
    narrow = InBfloat16(network)
    cells = {f"network.{name}." for name, part in network.named_modules() if isinstance(part, Recurrent)}
    assert cells
    for name, weight in narrow.named_parameters():
        inside = any(name.startswith(cell) for cell in cells)
        assert weight.dtype == (torch.float32 if inside else torch.bfloat16), name
    assert {p.dtype for p in network.parameters()} == {torch.float32}
