"""Cyclic consistency of two sequences of features: the temporal gate of SRTG.

Source: Stergiou and Poppe, Trainable to cycle, equations 4 and 5.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from kinema.errors import KinemaError
from kinema.ops.arguments import Range, Sequences, checked
from kinema.ops.precision import full_precision, widen

Temperature = Annotated[float, Range(0, above=True)]


@checked
def soft_nearest(a: Sequences, b: Sequences, temperature: Temperature = 1.0) -> Tensor:
    """Computes the soft nearest neighbour in `b` of every frame of `a` (equation 4).

    `sum_i softmax_i(-|a[t] - b[i]|^2 / temperature) b[i]`, with the squared distance summed over channels.

    Args:
        a: N C T.
        b: N C T.
        temperature: above 0, in squared feature units; 1 in the paper. If distances are small compared with it, the
            weights are nearly equal and every frame of `a` gets the mean of `b`.

    Returns:
        N C T, in float32 or wider. Autocast has no effect on it.
    """
    _same_shape("soft_nearest", a, b)
    with full_precision(a):
        return _soft_nearest(widen(a), widen(b), temperature)


@checked
def cycle_consistent(a: Sequences, b: Sequences, temperature: Temperature = 1.0) -> Tensor:
    """True if every frame's soft nearest neighbour is nearest to the frame at its own time, both ways (equation 5).

    Args:
        a: N C T.
        b: N C T.
        temperature: temperature of `soft_nearest`.

    Returns:
        bool N, without gradient. Of equally near frames, the earliest counts, so that a sequence of equal frames is not
        consistent with itself unless it has only one frame.
    """
    _same_shape("cycle_consistent", a, b)
    with torch.no_grad(), full_precision(a):
        a, b = widen(a), widen(b)
        return _returns(a, b, temperature) & _returns(b, a, temperature)


@checked
def returned_frames(a: Sequences, b: Sequences, temperature: Temperature = 1.0) -> Tensor:
    """Returns the frame to which every frame of `a` returns via its soft nearest neighbour in `b` (figure 4).

    A frame that does not return to its own time is a temporal cyclic error; `cycle_consistent` is True if there is no
    such error in both directions.

    Args:
        a: N C T.
        b: N C T.
        temperature: temperature of `soft_nearest`.

    Returns:
        int64 N T in [0, T), without gradient; of equally near frames of `b`, the earliest.
    """
    _same_shape("returned_frames", a, b)
    with torch.no_grad(), full_precision(a):
        return _nearest(widen(a), widen(b), temperature)


def _returns(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """True if all frames of `a` return to themselves via `b`; bool N."""
    return (_nearest(a, b, temperature) == torch.arange(a.shape[2], device=a.device)).all(1)


def _nearest(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    return _distances(_soft_nearest(a, b, temperature), b).argmin(2)  # N T, the first of equals


def _soft_nearest(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    weights = torch.softmax(-_distances(a, b) / temperature, 2)
    # Products and a sum instead of a matrix product, which could round to TF32 on a GPU and change the gate.
    return (weights[:, None] * b[:, :, None]).sum(3)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Computes squared distances of all pairs, N T(a) T(b)."""
    # The difference itself, not a^2 - 2ab + b^2, which loses digits for features far from zero.
    return (a[:, :, :, None] - b[:, :, None]).square().sum(1)


def _same_shape(operator: str, a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise KinemaError(f"{operator}: b has shape {tuple(b.shape)}; give the shape of a, {tuple(a.shape)}")
