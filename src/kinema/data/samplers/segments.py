"""The sampler of TSN: one frame from each of T equal parts of a video."""

from __future__ import annotations

import numpy as np

from kinema.clip_spec import ClipSpec
from kinema.data.samplers.base import Sampler, Ticks


class Segments(Sampler):
    """One tick from each of T parts of equal length; a clip represents the whole video.

    In training the tick is uniformly random within its part, and no tick is used twice. In testing, clip j uses the
    point (j + 0.5) / clips of every part. A point on the border of two ticks uses the one nearer to the middle of the
    video. Reversing the video therefore reverses clips and frames exactly, except for a point in the exact middle,
    which exists only if clips * T is odd. All clips differ if n is at least clips * T.

    Source: Wang et al., Temporal Segment Networks, ECCV 2016, section 3.1.
    """

    name = "segments"
    strided = False
    whole = True

    def ticks(self, spec: ClipSpec) -> int:
        """One per frame."""
        return spec.frames

    def train(self, n: int, spec: ClipSpec, rng: np.random.Generator) -> Ticks:
        """Draws one random tick per part."""
        edges = np.arange(spec.frames + 1) * n // spec.frames
        return rng.integers(edges[:-1], edges[1:])

    def test(self, n: int, spec: ClipSpec, clips: int) -> Ticks:
        """Returns the same point of every part, another one per clip."""
        return _centres(n, clips * spec.frames).reshape(spec.frames, clips).T


def _centres(n: int, parts: int) -> Ticks:
    """Returns the tick at the middle of each of `parts` equal parts, ties towards the middle of the video."""
    doubled = (2 * np.arange(parts, dtype=np.int64) + 1) * n  # middle of part k = doubled / (2 * parts)
    ticks, rest = np.divmod(doubled, 2 * parts)
    return ticks - ((rest == 0) & (doubled > n * parts))
