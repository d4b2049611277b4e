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
    """The soft nearest neighbour in `b` of every frame of `a` (equation 4).

    `sum_i softmax_i(-|a[t] - b[i]|^2 / temperature) b[i]`, with the squared distance summed over channels.

    Args:
        a: N C T.
        b: N C T.
        temperature: above 0, in squared feature units; the paper has 1. Where distances are small against it the
            weights are nearly equal and every frame of `a` gets the mean of `b`.

    Returns:
        N C T, in float32 or wider. Autocast does not reach inside.
    """
    _same_shape("soft_nearest", a, b)
    with full_precision(a):
        return _soft_nearest(widen(a), widen(b), temperature)


@checked
def cycle_consistent(a: Sequences, b: Sequences, temperature: Temperature = 1.0) -> Tensor:
    """Whether every frame's soft nearest neighbour lies nearest to the frame at its own time, both ways (equation 5).

    Args:
        a: N C T.
        b: N C T.
        temperature: of `soft_nearest`.

    Returns:
        bool N, without a gradient. Of frames that are equally near the earliest counts, so a sequence of equal frames
        is not consistent with itself unless it has one frame only.
    """
    _same_shape("cycle_consistent", a, b)
    with torch.no_grad(), full_precision(a):
        a, b = widen(a), widen(b)
        return _returns(a, b, temperature) & _returns(b, a, temperature)


@checked
def returned_frames(a: Sequences, b: Sequences, temperature: Temperature = 1.0) -> Tensor:
    """The frame to which every frame of `a` comes back by way of its soft nearest neighbour in `b` (figure 4).

    A frame that does not come back to its own time is a temporal cyclic error; `cycle_consistent` is that there is
    none, both ways.

    Args:
        a: N C T.
        b: N C T.
        temperature: of `soft_nearest`.

    Returns:
        int64 N T in [0, T), without a gradient; of frames of `b` that are equally near the earliest.
    """
    _same_shape("returned_frames", a, b)
    with torch.no_grad(), full_precision(a):
        return _nearest(widen(a), widen(b), temperature)


def _returns(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Whether all frames of `a` find themselves by way of `b`; bool N."""
    return (_nearest(a, b, temperature) == torch.arange(a.shape[2], device=a.device)).all(1)


def _nearest(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    return _distances(_soft_nearest(a, b, temperature), b).argmin(2)  # N T, the first of equals


def _soft_nearest(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    weights = torch.softmax(-_distances(a, b) / temperature, 2)
    # Products and a sum, no matrix product: that would be free to round to TF32 on a GPU, and the gate may turn on it.
    return (weights[:, None] * b[:, :, None]).sum(3)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances of all pairs, N T(a) T(b)."""
    # The difference itself, not a^2 - 2ab + b^2: features far from zero would lose their digits.
    return (a[:, :, :, None] - b[:, :, None]).square().sum(1)


def _same_shape(operator: str, a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise KinemaError(f"{operator}: b has shape {tuple(b.shape)}; give that of a, {tuple(a.shape)}")
