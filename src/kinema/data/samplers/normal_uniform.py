"""The sampler of the thesis as in its figure 5.6: a normal start, and the other frames drawn uniformly."""

from __future__ import annotations

import numpy as np

from kinema.clip_spec import ClipSpec
from kinema.data.samplers.base import Sampler, Ticks, strided
from kinema.data.samplers.normal import draw_start


class NormalUniform(Sampler):
    """The first tick from a normal distribution, the others uniformly from all ticks after it.

    In training the start s is drawn as in `normal`: mean n/4 and standard deviation n/6 on [0, n/2], and moved earlier
    if fewer than T ticks are left. The other T - 1 ticks are drawn without repetition from the f = n - s that remain,
    each with the same probability, and sorted; `stride` has no effect. In testing, starts are evenly spaced over
    [0, n/2]; a single clip starts at n/4. Other ticks are evenly spaced to the end, the mean positions of the draws.

    Source: thesis, figure 5.6 (p = 1/f). Its text also gives strides (2, 5, 3): that reading is `normal`.
    """

    name = "normal_uniform"
    strided = False

    def ticks(self, spec: ClipSpec) -> int:
        """One per frame."""
        return spec.frames

    def train(self, n: int, spec: ClipSpec, rng: np.random.Generator) -> Ticks:
        """Draws a normally distributed start, and the other ticks uniformly after it."""
        start = min(draw_start(n, rng), n - spec.frames)
        others = rng.choice(np.arange(start + 1, n), spec.frames - 1, replace=False)
        return np.concatenate([[start], np.sort(others)]).astype(np.int64)

    def test(self, n: int, spec: ClipSpec, clips: int) -> Ticks:
        """Returns clips with evenly spaced starts in the first half, spread evenly to the last tick."""
        last = min(n // 2, n - spec.frames)
        starts = [last // 2] if clips == 1 else [j * last // (clips - 1) for j in range(clips)]
        return np.stack([strided(start, n, spec.replace(stride=n)) for start in starts])

    def spacing(self, spec: ClipSpec, duration: float, fps: float) -> float:
        """Returns the mean seconds between frames: from the mean start, a quarter of the video, to its end."""
        return 0.75 * duration / spec.frames
