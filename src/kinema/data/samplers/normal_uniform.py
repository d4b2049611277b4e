"""The sampler of the thesis as its figure 5.6 says: a normal start, and the other frames drawn uniformly."""

from __future__ import annotations

import numpy as np

from kinema.clip_spec import ClipSpec
from kinema.data.samplers.base import Sampler, Ticks, strided
from kinema.data.samplers.normal import draw_start


class NormalUniform(Sampler):
    """The first tick from a normal distribution, the others uniformly from all that follow it.

    In training the start s is drawn as by `normal`: mean n/4 and deviation n/6 on [0, n/2], and moved forward so far
    that T ticks are left. The other T - 1 ticks are drawn without repetition from the f = n - s that remain, each with
    the same probability, and put in order; `stride` has no effect. In testing starts are spaced evenly over [0, n/2],
    one clip starts at n/4, and its other ticks lie evenly between start and end, where the draws lie on average.

    Source: thesis, figure 5.6 (p = 1/f). Its text gives strides as well (2, 5, 3): that reading is `normal`.
    """

    name = "normal_uniform"
    strided = False

    def ticks(self, spec: ClipSpec) -> int:
        """One per frame."""
        return spec.frames

    def train(self, n: int, spec: ClipSpec, rng: np.random.Generator) -> Ticks:
        """A normally distributed start, the others uniform after it."""
        start = min(draw_start(n, rng), n - spec.frames)
        others = rng.choice(np.arange(start + 1, n), spec.frames - 1, replace=False)
        return np.concatenate([[start], np.sort(others)]).astype(np.int64)

    def test(self, n: int, spec: ClipSpec, clips: int) -> Ticks:
        """From evenly spaced starts in the first half, evenly spread to the last tick."""
        last = min(n // 2, n - spec.frames)
        starts = [last // 2] if clips == 1 else [j * last // (clips - 1) for j in range(clips)]
        return np.stack([strided(start, n, spec.replace(stride=n)) for start in starts])

    def spacing(self, spec: ClipSpec, duration: float, fps: float) -> float:
        """Seconds between frames on average: from the mean start, a quarter of the video, to its end."""
        return 0.75 * duration / spec.frames
