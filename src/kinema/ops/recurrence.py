"""Recurrent cells along time, N C T -> N C T: what SRTG and MTConv run over the frames' mean features."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError, unknown

Cell = Literal["rnn", "lstm", "peephole", "gru"]


def recurrent(cell: str, channels: int, layers: int) -> Recurrent:
    """A stack of recurrent cells that keeps the number of channels.

    Args:
        cell: `rnn` (tanh), `lstm`, `peephole` (an LSTM whose gates also see the cell state) or `gru`.
        channels: C, of the input and of the hidden state.
        layers: how many cells are stacked.

    Raises:
        KinemaError: a cell that does not exist, or a number below 1.
    """
    if cell not in get_args(Cell):
        raise unknown("recurrent cell", str(cell), get_args(Cell))
    for name, value in (("channels", channels), ("layers", layers)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise KinemaError(f"{name} of a recurrent cell is {value!r}: give a whole number of at least 1")
    kinds = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU, "peephole": PeepholeLSTM}
    return Recurrent(kinds[cell](channels, channels, layers))


class Recurrent(nn.Module):
    """All top-layer states of a causal stack of cells, from a zero state; N C T -> N C T in the dtype of its weights.

    Autocast does not reach inside: PyTorch has no float16 LSTM for every device, and the cost is negligible.

    Args:
        cell: time-major, `T N C -> (T N C, last state)`, as the recurrent layers of PyTorch.
    """

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        """N C T -> N C T; frame t depends on the frames up to t."""
        with full_precision(x):
            states, _ = self.cell(x.permute(2, 0, 1).to(next(self.cell.parameters()).dtype))
        return states.permute(1, 2, 0)


class PeepholeLSTM(nn.Module):
    """An LSTM with peepholes: the input and forget gates also see c[t - 1], the output gate sees c[t], per channel.

    Takes and gives what `nn.LSTM` does, with its names and gate order (i, f, g, o); adds `peephole_l*` (3 C: i, f, o),
    which start at zero, so that it starts as an ordinary LSTM.

    Source: Gers and Schmidhuber, Recurrent nets that time and count, IJCNN 2000; cell of table VIb of MTConv.
    """

    def __init__(self, channels: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.hidden, self.layers = hidden, layers
        bound = hidden**-0.5
        for i in range(layers):
            for name, shape in (
                (f"weight_ih_l{i}", (4 * hidden, channels if i == 0 else hidden)),
                (f"weight_hh_l{i}", (4 * hidden, hidden)),
                (f"bias_ih_l{i}", (4 * hidden,)),
                (f"bias_hh_l{i}", (4 * hidden,)),
            ):
                self.register_parameter(name, nn.Parameter(torch.empty(shape).uniform_(-bound, bound)))
            self.register_parameter(f"peephole_l{i}", nn.Parameter(torch.zeros(3, hidden)))

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """T N C -> T N H and the last (h, c) of the top layer, N H each."""
        for i in range(self.layers):
            w_in, w_state, b_in, b_state, peepholes = (
                getattr(self, f"{name}_l{i}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "peephole")
            )
            peep_i, peep_f, peep_o = peepholes
            h = c = x.new_zeros(x.shape[1], self.hidden)
            states = []
            for of_input in F.linear(x, w_in, b_in + b_state):  # N 4H
                gate_i, gate_f, new, gate_o = (of_input + F.linear(h, w_state)).chunk(4, 1)
                c = torch.sigmoid(gate_f + peep_f * c) * c + torch.sigmoid(gate_i + peep_i * c) * torch.tanh(new)
                h = torch.sigmoid(gate_o + peep_o * c) * torch.tanh(c)
                states.append(h)
            x = torch.stack(states)
        return x, (h, c)


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """A region in which autocast leaves dtypes alone; nothing at all outside autocast, so that exporters see nothing."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()
