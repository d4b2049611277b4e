"""The sampler of TSN: one frame of each of T equal parts of a video."""

from __future__ import annotations

import numpy as np

from kinema.clip_spec import ClipSpec
from kinema.data.samplers.base import Sampler, Ticks


class Segments(Sampler):
    """One tick of each of T parts of equal length; a clip stands for the whole video.

    In training it is uniformly random within its part, and no tick is taken twice. In testing clip j takes the point
    (j + 0.5) / clips of every part. A point on the border of two ticks goes to the one nearer to the middle of the
    video, so that reversing the video reverses clips and frames exactly (except a point in the very middle, which only
    an odd number clips * T has). All clips differ from n = clips * T on.

    Source: Wang et al., Temporal Segment Networks, ECCV 2016, section 3.1.
    """

    name = "segments"
    strided = False
    whole = True

    def ticks(self, spec: ClipSpec) -> int:
        """One per frame."""
        return spec.frames

    def train(self, n: int, spec: ClipSpec, rng: np.random.Generator) -> Ticks:
        """One random tick per part."""
        edges = np.arange(spec.frames + 1) * n // spec.frames
        return rng.integers(edges[:-1], edges[1:])

    def test(self, n: int, spec: ClipSpec, clips: int) -> Ticks:
        """The same point of every part, another one per clip."""
        return _centres(n, clips * spec.frames).reshape(spec.frames, clips).T


def _centres(n: int, parts: int) -> Ticks:
    """The tick under the middle of each of `parts` equal parts, ties towards the middle of the video."""
    doubled = (2 * np.arange(parts, dtype=np.int64) + 1) * n  # middle of part k = doubled / (2 * parts)
    ticks, rest = np.divmod(doubled, 2 * parts)
    return ticks - ((rest == 0) & (doubled > n * parts))
