"""Recurrent layers as single operators.

`torch.export` unrolls a recurrent layer, which fixes the number of frames and gives thousands of operations to compile.
Before a network is traced for ONNX, its recurrent layers are therefore replaced by an operator that the converter turns
into LSTM, GRU or RNN; before it is compiled, by one that calls PyTorch's own layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from kinema.ops.recurrence import PeepholeLSTM

# PyTorch's order of the gates (i f g o; r z n; one) -> ONNX's order (i o f c; z r h; one).
_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


@torch.library.custom_op("kinema::onnx_recurrent", mutates_args=())
def onnx_recurrent(x: Tensor, w: Tensor, r: Tensor, b: Tensor, kind: str) -> Tensor:
    """One layer, T N C -> T N H, with weights 1 G*H C, 1 G*H H and 1 2*G*H in ONNX's order; only traced, never run."""
    raise NotImplementedError("kinema::onnx_recurrent stands for an operator of ONNX and is not computed by PyTorch")


@onnx_recurrent.register_fake
def _shape(x: Tensor, w: Tensor, r: Tensor, b: Tensor, kind: str) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1], r.shape[2])


class OnnxCell(nn.Module):
    """A stack of recurrent layers, each of which is one operator of ONNX."""

    def __init__(self, cell: nn.RNNBase) -> None:
        super().__init__()
        self.kind, self.layers = _kind(cell), cell.num_layers
        for i in range(cell.num_layers):
            for name, key in (("w", "weight_ih_l"), ("r", "weight_hh_l")):
                value = _ordered(getattr(cell, f"{key}{i}"), self.kind)
                self.register_parameter(f"{name}{i}", nn.Parameter(value[None], requires_grad=False))
            biases = [_ordered(getattr(cell, f"{key}{i}"), self.kind) for key in ("bias_ih_l", "bias_hh_l")]
            self.register_parameter(f"b{i}", nn.Parameter(torch.cat(biases)[None], requires_grad=False))

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Returns T N H for T N C, and None instead of the last state."""
        for i in range(self.layers):
            x = onnx_recurrent(x, *(getattr(self, f"{name}{i}") for name in "wrb"), self.kind)
        return x, None


@torch.library.custom_op("kinema::recurrent", mutates_args=())
def recurrent_layers(x: Tensor, weights: Sequence[Tensor], kind: str, layers: int) -> Tensor:
    """A stack of layers with PyTorch's weights, from a zero state; T N C -> T N H."""
    start = x.new_zeros(layers, x.shape[1], weights[1].shape[1])
    if kind == "LSTM":
        states = torch.lstm(x, (start, start), list(weights), True, layers, 0.0, False, False, False)[0]
    else:
        layer = torch.gru if kind == "GRU" else torch.rnn_tanh
        states = layer(x, start, list(weights), True, layers, 0.0, False, False, False)[0]
    return states.contiguous()


@recurrent_layers.register_fake
def _shape_of_all(x: Tensor, weights: Sequence[Tensor], kind: str, layers: int) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1], weights[1].shape[1])


class WholeCell(nn.Module):
    """A stack of recurrent layers that a compiler sees as one operator."""

    def __init__(self, cell: nn.RNNBase) -> None:
        super().__init__()
        self.cell, self.kind = cell, _kind(cell)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Returns T N H for T N C, and None instead of the last state."""
        if len(x) <= 2:  # few operations, and fewer than oneDNN needs to pack the weights of an LSTM at each call
            return self.cell(x)[0], None
        weights = [weight for of_layer in self.cell.all_weights for weight in of_layer]
        return recurrent_layers(x, weights, self.kind, self.cell.num_layers), None


def keep_cells_whole(network: nn.Module) -> None:
    """Replaces the recurrent layers of a network, except those with peepholes, by single operators, in place."""
    for parent, name, layer in _layers(network):
        setattr(parent, name, WholeCell(layer))


@contextmanager
def onnx_cells(network: nn.Module) -> Iterator[None]:
    """Replaces recurrent layers inside the `with` block, except those with peepholes, which few runtimes support."""
    there = _layers(network)
    try:
        for parent, name, layer in there:
            setattr(parent, name, OnnxCell(layer))
        yield
    finally:
        for parent, name, layer in there:
            setattr(parent, name, layer)


def _layers(network: nn.Module) -> list[tuple[nn.Module, str, nn.RNNBase]]:
    """Returns the recurrent layers that have an operator, each with the module it is in and its name there."""
    return [
        (parent, name, layer)
        for parent in network.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, nn.RNNBase) and _kind(layer)
    ]


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Returns the translation of the operator for the converter to ONNX."""
    from onnxscript import opset18 as op

    def translate(x: Any, w: Any, r: Any, b: Any, kind: str) -> Any:
        hidden = int(r.shape[2])
        if kind == "LSTM":
            states, _, _ = op.LSTM(x, w, r, b, hidden_size=hidden)
        elif kind == "GRU":  # PyTorch applies the reset gate after the product with the state
            states, _ = op.GRU(x, w, r, b, hidden_size=hidden, linear_before_reset=1)
        else:
            states, _ = op.RNN(x, w, r, b, hidden_size=hidden)
        axes: Any = op.Constant(value_ints=[1])
        return op.Squeeze(states, axes)  # T 1 N H

    return {torch.ops.kinema.onnx_recurrent.default: translate}


def _kind(cell: nn.RNNBase) -> str:
    """Returns the kind of a layer that has an operator; empty if there is none."""
    if isinstance(cell, PeepholeLSTM) or not _plain(cell):
        return ""
    kind = {nn.LSTM: "LSTM", nn.GRU: "GRU", nn.RNN: "RNN"}
    return next((name for base, name in kind.items() if isinstance(cell, base)), "")


def _plain(cell: nn.RNNBase) -> bool:
    return (
        bool(cell.bias)
        and not (cell.bidirectional or cell.batch_first or cell.proj_size)
        and cell.mode != "RNN_RELU"
    )  # fmt: skip


def _ordered(weight: Tensor, kind: str) -> Tensor:
    order = _ORDER[kind]
    parts = weight.detach().chunk(len(order))
    return torch.cat([parts[i] for i in order])
