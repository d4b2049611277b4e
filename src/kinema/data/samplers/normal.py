"""The sampler of the thesis: the start is drawn from a normal distribution."""

from __future__ import annotations

import numpy as np

from kinema.clip_spec import ClipSpec
from kinema.data.samplers.base import Sampler, Ticks, evenly_started, strided


class Normal(Sampler):
    """T ticks, `stride` apart, from a start that is usually in the first half of the video.

    In training the start is drawn from a normal distribution with mean n/4 and standard deviation n/6, redrawn until it
    is in [0, n/2], and moved earlier if fewer than T ticks are left. If the stride exceeds the end, T ticks are spread
    evenly from the start to the last tick. In testing, starts are evenly spaced.

    Source: thesis, figure 5.6.
    """

    name = "normal"

    def ticks(self, spec: ClipSpec) -> int:
        """One per frame, because the stride is reduced before a frame is repeated."""
        return spec.frames

    def train(self, n: int, spec: ClipSpec, rng: np.random.Generator) -> Ticks:
        """Draws a clip with a normally distributed start."""
        return strided(min(draw_start(n, rng), n - spec.frames), n, spec)

    def test(self, n: int, spec: ClipSpec, clips: int) -> Ticks:
        """Returns clips with evenly spaced starts; if the stride exceeds the end, they spread evenly over the video."""
        return evenly_started(n, spec, clips)


def draw_start(n: int, rng: np.random.Generator) -> int:
    """Draws a tick from a normal distribution with mean n/4 and deviation n/6, redrawn until it is in [0, n/2]."""
    while True:  # 87 % of the draws are inside
        start = rng.normal(n / 4, n / 6)
        if 0 <= start <= n / 2:
            return int(start)
