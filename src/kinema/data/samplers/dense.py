"""The sampler for 3-D networks: neighbouring frames at a stride."""

from __future__ import annotations

import numpy as np

from kinema.clip_spec import ClipSpec
from kinema.data.samplers.base import Sampler, Ticks, evenly_started


class Dense(Sampler):
    """T ticks `stride` apart: in training from a uniformly random start, in testing from evenly spaced ones."""

    name = "dense"

    def ticks(self, spec: ClipSpec) -> int:
        """The full span of the clip with its stride."""
        return (spec.frames - 1) * spec.stride + 1

    def train(self, n: int, spec: ClipSpec, rng: np.random.Generator) -> Ticks:
        """Draws a clip with a uniformly random start."""
        start = int(rng.integers(0, n - self.ticks(spec) + 1))
        return start + spec.stride * np.arange(spec.frames)

    def test(self, n: int, spec: ClipSpec, clips: int) -> Ticks:
        """Returns clips with evenly spaced starts; a single clip is central."""
        return evenly_started(n, spec, clips)
