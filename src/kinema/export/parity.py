"""Comparison of a file with its network, at sizes that were not traced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kinema.backends.onnx import Run
from kinema.errors import RunError
from kinema.text import plural

TOLERANCE = 1e-4  # relative to the largest logit, or to 1 if it is smaller

Compute = Callable[[Sequence[Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Agreement:
    """One comparison.

    Attributes:
        batch: number of clips or streams.
        frames: number of frames of each.
        difference: the largest difference of a logit or a number of the state.
        tolerance: the largest allowed difference.
    """

    batch: int
    frames: int
    difference: float
    tolerance: float


def compare(network: Compute, run: Run, inputs: Sequence[Tensor], batch: int, frames: int, what: str) -> Agreement:
    """Runs the network and the file on the same inputs.

    Args:
        network: the reference.
        run: runs the file.
        inputs: inputs of both.
        batch: number of clips or streams in them.
        frames: number of frames of each.
        what: name of the file, for the error.

    Raises:
        RunError: they differ, or the file cannot be run with these sizes.
    """
    sizes = f"{plural(batch, 'clip')} of {plural(frames, 'frame')}"
    with torch.no_grad():
        wanted = network(inputs)
    try:
        found = run(inputs)
    except Exception as error:  # runtimes raise their own types of errors
        why = " ".join(str(error).split())[:200]
        raise RunError(
            f"{what}: the exported file does not run with {sizes} ({why}), so it was not kept; {_HOW}"
        ) from error
    worst = Agreement(batch, frames, 0.0, TOLERANCE)
    for a, b in zip(wanted, found, strict=True):
        if a.shape != b.shape:
            raise RunError(
                f"{what}: the exported file returns the shape {tuple(b.shape)} for {sizes}, but the network "
                f"{tuple(a.shape)}, so it was not kept; {_HOW}"
            )
        difference = float((a.double() - b.double()).abs().max())
        tolerance = TOLERANCE * max(1.0, float(a.double().abs().max()))
        if not difference <= tolerance:  # true for NaN as well
            raise RunError(
                f"{what}: the exported file differs from the network by {difference:.2g} for {sizes}, more than the "
                f"allowed {tolerance:.2g}, so it was not kept; {_HOW}"
            )
        if difference >= worst.difference:
            worst = Agreement(batch, frames, difference, tolerance)
    return worst


_HOW = "export with --fixed-length, or to another format"
