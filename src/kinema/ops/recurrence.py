"""Squeeze and Recursion, used by SRTG and MTConv: recurrent cells over the frames' mean features, fused back."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.ops.arguments import Count, checked
from kinema.ops.cycle import Temperature, cycle_consistent
from kinema.ops.precision import full_precision, mean_per_frame

Cell = Literal["rnn", "lstm", "peephole", "gru"]
Gate = Literal["none", "hard"]
Fusion = Literal["mul", "add", "residual"]
Compare = Literal["state", "fused"]


@checked
def recurrent(cell: Cell, channels: Count, layers: Count) -> Recurrent:
    """A stack of recurrent cells that keeps the number of channels.

    Args:
        cell: `rnn` (tanh), `lstm`, `peephole` (an LSTM whose gates also use the cell state) or `gru`.
        channels: C, number of channels of the input and of the hidden state.
        layers: number of stacked cells.

    Raises:
        KinemaError: the cell does not exist, or a number is below 1.
    """
    kinds = {"rnn": nn.RNN, "lstm": LSTM, "gru": nn.GRU, "peephole": PeepholeLSTM}
    return Recurrent(kinds[cell](channels, channels, layers))


class Recurrent(nn.Module):
    """Returns all top-layer states of a causal stack of cells, from a zero state; N C T -> N C T in the weights' dtype.

    Autocast has no effect: PyTorch does not have a float16 LSTM on every device, and the cost is negligible.

    Args:
        cell: time-major, `T N C -> (T N C, last state)`, like the recurrent layers of PyTorch.
    """

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        """N C T -> N C T; frame t depends on the frames up to t."""
        if x.is_meta:
            return self._counted(x)
        with full_precision(x):
            states, _ = self.cell(x.permute(2, 0, 1).to(next(self.cell.parameters()).dtype))
        return states.permute(1, 2, 0)

    def _counted(self, x: Tensor) -> Tensor:
        """Computes the same shape with the same matrix products, all steps at once.

        On the meta device, which only tracks shapes and counts operations, PyTorch splits a recurrent layer into its
        steps, which costs more than the rest of a network.
        """
        states = x.transpose(1, 2)  # N T C
        for name, weight in self.cell.named_parameters():
            if name.startswith("weight_"):
                states = F.linear(states, weight)[..., : x.shape[1]]
        return states.transpose(1, 2)


class LSTM(nn.LSTM):
    """`nn.LSTM` without its fixed cost for one or two frames on a CPU.

    oneDNN packs all weights again at every call, which takes many times as long as one or two steps with them; the last
    stages of a 3-D ResNet are wide and have no more frames than that.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:  # type: ignore[override]
        """T N C -> T N H and the last (h, c), layers N H each."""
        if x.device.type == "cpu" and len(x) <= 2 and not torch.compiler.is_compiling():
            return run_lstm(self, x)
        return super().forward(x)


class PeepholeLSTM(nn.LSTM):
    """An LSTM with peepholes: the input and forget gates also use c[t - 1], the output gate uses c[t], per channel.

    `peephole_l*` (3 H: for the gates i, f, o) start at zero, so that it starts as an ordinary LSTM.

    Source: Gers and Schmidhuber, Recurrent nets that time and count, IJCNN 2000; a cell of table VIb of MTConv.
    """

    def __init__(self, channels: int, hidden: int, layers: int) -> None:
        super().__init__(channels, hidden, layers)
        for i in range(layers):
            self.register_parameter(f"peephole_l{i}", nn.Parameter(torch.zeros(3, hidden)))

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:  # type: ignore[override]
        """T N C -> T N H and the last (h, c), layers N H each."""
        return run_lstm(self, x)


def run_lstm(lstm: nn.LSTM, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Computes the equations of an LSTM, with peepholes if it has any; T N C -> T N H and the last (h, c)."""
    last = []
    for i in range(lstm.num_layers):
        w_in, w_state = getattr(lstm, f"weight_ih_l{i}"), getattr(lstm, f"weight_hh_l{i}")
        bias = getattr(lstm, f"bias_ih_l{i}") + getattr(lstm, f"bias_hh_l{i}")
        peepholes: Tensor | None = getattr(lstm, f"peephole_l{i}", None)
        h = c = x.new_zeros(x.shape[1], lstm.hidden_size)
        states: list[Tensor] = []
        for of_input in F.linear(x, w_in, bias):  # N 4H
            # The first state is zero; its product is needed only for the (zero) gradient of the weights.
            gates = torch.addmm(of_input, h, w_state.t()) if states or torch.is_grad_enabled() else of_input
            gate_i, gate_f, new, gate_o = gates.chunk(4, 1)
            if peepholes is not None:
                gate_i, gate_f = gate_i + peepholes[0] * c, gate_f + peepholes[1] * c
            c = torch.sigmoid(gate_f) * c + torch.sigmoid(gate_i) * torch.tanh(new)
            if peepholes is not None:
                gate_o = gate_o + peepholes[2] * c
            h = torch.sigmoid(gate_o) * torch.tanh(c)
            states.append(h)
        x = torch.stack(states)
        last.append((h, c))
    h, c = (torch.stack(of_layers) for of_layers in zip(*last, strict=True))
    return x, (h, c)


# PyTorch 2.6 cannot distinguish exporting from compiling: compiled networks record no rates of open gates there.
_is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


class SqueezeRecursion(nn.Module):
    """Squeeze and Recursion with the temporal gate; N C T H W -> the same shape and dtype.

    The mean over H and W, s (N C T), is the input of a stack of recurrent cells. All states of the top layer, h
    (N C T), are fused with every position of the input. There is no sigmoid, so h is in (-1, 1).

    - `mul`: `x * h` (the thesis). At the start h is near 0, so that almost nothing passes through the blocks.
    - `add`: `x + h`, close to x at the start.
    - `residual`: `x + x * h` (the product, "added back" as in the article), close to x at the start.

    The hard gate decides per sample, without a gradient. If it is open, the fused result passes. If it is closed, x
    passes unchanged, and the cells get no gradient from that sample.

    The gate opens if s is cycle-consistent with h (`compare="state"`, the equation) or with the mean of the fused
    result (`compare="fused"`). Cells do not learn to imitate the features, so with `state` gates stay closed unless
    they are held open in the first epochs (`set_gate(model, open=True)`); with `fused` they can open by themselves. One
    frame is not evidence of consistency: for T = 1 the gate is closed.

    Args:
        channels: C.
        cell: `lstm` as in SRTG, `gru` as in MTConv, `rnn`, `peephole`.
        layers: number of stacked cells.
        gate: `none`: always fused ("inactive" in the paper; the released weights were trained this way). `hard`: fused
            only if the sequences are cycle-consistent.
        temperature: temperature of the gate's soft nearest neighbours, in squared feature units. At the paper's 1,
            features whose frames differ by much less than 1 cannot open a gate, however consistent they are.
        fusion: `mul`, `add` or `residual`, see above.
        compare: what the gate compares s with, `state` or `fused`.

    Attributes:
        gate_open: with `gate="hard"`, fuse regardless of the gate's decision. Not saved with the weights.
        open_rate: share of the last batch for which the gate decided to open, also while it is held open; a
            0-dimensional tensor on the batch's device, None before the first forward pass and without a gate.

    Raises:
        KinemaError: an argument is out of range.

    Source: Stergiou and Poppe, Trainable to cycle, section 3.1, equations 1 to 5.
    """

    @checked
    def __init__(
        self,
        channels: Count,
        *,
        cell: Cell = "lstm",
        layers: Count = 2,
        gate: Gate = "none",
        temperature: Temperature = 1.0,
        fusion: Fusion = "mul",
        compare: Compare = "state",
    ) -> None:
        super().__init__()
        self.recurrence = recurrent(cell, channels, layers)
        self.gate, self.temperature, self.fusion, self.compare = gate, temperature, fusion, compare
        self.gate_open = False
        self.open_rate: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> the same; frame t depends on later frames only through the gate."""
        squeezed = mean_per_frame(x)  # N C T
        state = self.recurrence(squeezed).to(squeezed.dtype)
        term = 1 + state if self.fusion == "residual" else state
        if self.gate == "hard":
            other = self._fuse(squeezed, term) if self.compare == "fused" else state
            is_open = self._decide(squeezed, other)
            if not _is_exporting():
                self.open_rate = is_open.float().mean()
            if not self.gate_open:
                neutral = -0.0 if self.fusion == "add" else 1.0  # adding -0 keeps every bit, adding 0 turns -0 into 0
                term = torch.where(is_open[:, None, None], term, neutral)
        return self._fuse(x, term.to(x.dtype)[..., None, None])

    def sequences(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the sequences that a gate compares, by `compare`: the mean features and the other one, N C T each."""
        squeezed = mean_per_frame(x)
        state = self.recurrence(squeezed).to(squeezed.dtype)
        if self.compare == "state":
            return squeezed, state
        return squeezed, self._fuse(squeezed, 1 + state if self.fusion == "residual" else state)

    def _fuse(self, x: Tensor, term: Tensor) -> Tensor:
        """Computes from the mean features the mean of the fused result: `term` is the same at every position."""
        return x + term if self.fusion == "add" else x * term

    def _decide(self, squeezed: Tensor, other: Tensor) -> Tensor:
        """Returns the gate's own decision per sample; N C T, N C T -> bool N."""
        # As a tensor: a check of the shape would be fixed when the network is exported.
        several = (torch.arange(squeezed.shape[2], device=squeezed.device) > 0).any()
        return cycle_consistent(squeezed, other, self.temperature) & several


def set_gate(model: nn.Module, *, open: bool) -> int:
    """Holds all hard gates of a network open, for the first epochs of training, or lets them decide again.

    Args:
        model: any module.
        open: True holds them open.

    Returns:
        The number of gates; 0 for a network without gates.
    """
    gated = [m for m in model.modules() if isinstance(m, SqueezeRecursion) and m.gate == "hard"]
    for module in gated:
        module.gate_open = open
    return len(gated)


def open_rates(model: nn.Module) -> dict[str, float]:
    """Returns, per name of a hard gate, the share of the last batch that it found consistent."""
    return {
        name: float(module.open_rate)
        for name, module in model.named_modules()
        if isinstance(module, SqueezeRecursion) and module.open_rate is not None
    }


def stage_open_rates(model: nn.Module) -> dict[str, Tensor]:
    """Returns the mean of the open rates of the hard gates of each stage, in the order of the stages.

    Args:
        model: any module; the first part of a gate's name is its stage.

    Returns:
        Per stage with a gate that has seen a batch, a 0-dimensional tensor in [0, 1] on the device of the batch.
    """
    found: dict[str, list[Tensor]] = {}
    for name, module in model.named_modules():
        if isinstance(module, SqueezeRecursion) and module.open_rate is not None:
            found.setdefault(name.split(".")[0], []).append(module.open_rate)
    return {stage: torch.stack(rates).mean() for stage, rates in found.items()}


def gated_stages(model: nn.Module) -> tuple[str, ...]:
    """Returns the stages of a network that have hard gates, in order."""
    gates = (n for n, m in model.named_modules() if isinstance(m, SqueezeRecursion) and m.gate == "hard")
    return tuple(dict.fromkeys(name.split(".")[0] for name in gates))
