"""Recurrent layers that a compiler sees as single operators, and networks that are too large to compile."""

from __future__ import annotations

import copy

import pytest
import torch

from kinema.backends import tracing
from kinema.backends.pytorch import Compiled, InBfloat16
from kinema.backends.recurrent import OnnxCell, keep_cells_whole, onnx_cells
from kinema.errors import KinemaError
from kinema.models import create_model
from kinema.ops.recurrence import recurrent


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "peephole"])
def test_whole_cells_compute_the_same(cell: str, layers: int, frames: int) -> None:
    own = torch.nn.Sequential(recurrent(cell, 6, layers)).eval()  # type: ignore[arg-type]
    whole = copy.deepcopy(own)
    keep_cells_whole(whole)
    x = torch.randn(3, 6, frames)
    with torch.no_grad():
        torch.testing.assert_close(whole(x), own(x))
        graph = torch.export.export(whole, (x,), strict=False).module().graph
    calls = [node for node in graph.nodes if "kinema.recurrent" in str(node.target)]
    assert len(calls) == (cell != "peephole" and frames > 2)


def test_a_network_of_too_many_operations_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "LARGE", 100)
    network = create_model("tsn_r18", num_classes=5, width=0.125).eval()
    with pytest.raises(KinemaError, match=r"it has \d+ operations, which would take about \d+ minutes"):
        Compiled().build(network, torch.randn(2, 3, 8, 32, 32))


def test_selected_frames_need_no_region_without_gradients() -> None:
    """Each region divides an exported graph, which takes minutes with a hundred of them."""
    network = create_model("mtconv_r50", num_classes=5, width=0.125).eval()
    with torch.no_grad():
        graph = torch.export.export(network, (torch.randn(2, 3, 8, 32, 32),), strict=False).module().graph
    assert not [node for node in graph.nodes if "grad" in str(node.target)]


def test_layers_outside_of_gates_are_replaced_and_put_back() -> None:
    network = create_model("lstm_head", num_classes=5, width=0.125, frames=8).eval()
    layer = network.lstm
    with onnx_cells(network):
        assert isinstance(network.lstm, OnnxCell)
    assert network.lstm is layer
    narrow = InBfloat16(network)
    assert {weight.dtype for weight in narrow.network.lstm.parameters()} == {torch.float32}
    clips = torch.randn(2, 3, 8, 32, 32)
    with torch.no_grad():
        expected = network(clips)
        assert (narrow(clips) - expected).abs().max() < 0.2 * expected.std()
        keep_cells_whole(network)
        torch.testing.assert_close(network(clips), expected)
