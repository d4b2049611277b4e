"""Comparison of a backend's logits with those of the network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Largest difference of a logit, in standard deviations of the network's logits over the classes, and largest relative
# error of their scale. The values for bfloat16 were set on the networks of `benchmarks/optimize.py`.
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.2, "int8": 0.5}
SCALE = {"float32": 1e-3, "bfloat16": 0.02, "int8": 0.05}


@dataclass(frozen=True)
class Agreement:
    """Agreement of logits with those of the network.

    Attributes:
        changed: number of clips whose top-1 label differs.
        clips: number of compared clips.
        error: the largest difference, in standard deviations of the network's logits over the classes.
        scale: slope of the logits over those of the network; 1 if they have the same scale.
        doubt: standard error of `scale`.
    """

    changed: int
    clips: int
    error: float
    scale: float
    doubt: float

    def objection(self, precision: str) -> str | None:
        """Returns why the logits are wrong for a precision, a key of `TOLERANCE`; None if they agree."""
        allowed = TOLERANCE[precision]
        if not self.error < float("inf"):
            return "its logits are not finite, or of another shape"
        if abs(self.scale - 1) > SCALE[precision] + 2 * self.doubt:
            return f"its logits are {abs(self.scale - 1):.1%} too {'large' if self.scale > 1 else 'small'}"
        if self.error > allowed:
            return f"a logit differs by {self.error:.2g} standard deviations, more than {allowed:g} for {precision}"
        if self.changed:
            return f"it changes the top-1 label of {self.changed} of {self.clips} clips"
        return None


def agreement(expected: Tensor, found: Tensor) -> Agreement:
    """Compares logits N K with those of the network, N K.

    Logits of another shape, or that are not finite, have an infinite error.
    """
    n = len(expected)
    if found.shape != expected.shape or not bool(found.isfinite().all()):
        return Agreement(n, n, float("inf"), float("nan"), 0.0)
    wanted, got = expected.double(), found.double()
    if not torch.equal(wanted, got):
        a, b = (x - x.mean(1, keepdim=True) for x in (wanted, got))
        power = float((a * a).sum())
        spread = (power / a.numel()) ** 0.5
        slope = float((a * b).sum()) / power if power else 1.0
        left = float(((b - slope * a) ** 2).sum())
        doubt = (left / power / a.numel()) ** 0.5 if power else 0.0
        # If all logits of a clip are equal, their magnitude is the unit.
        error = float((wanted - got).abs().max()) / (spread or float(wanted.abs().max()) or 1.0)
    else:
        error, slope, doubt = 0.0, 1.0, 0.0
    changed = int((wanted.argmax(1) != got.argmax(1)).sum())
    return Agreement(changed, n, error, slope, doubt)
