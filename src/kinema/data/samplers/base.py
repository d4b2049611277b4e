"""What a sampler is, and the table of all of them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError, unknown

Ticks = NDArray[np.int64]


class Sampler:
    """Which ticks of a video make a clip. A subclass with a `name` can be used as `ClipSpec.sampler` from then on.

    Attributes:
        name: what `ClipSpec.sampler` says.
        strided: `ClipSpec.stride` has an effect.
        whole: a clip stands for the whole video, and not only for the time from its first frame to its last one.
    """

    name: ClassVar[str] = ""
    strided: ClassVar[bool] = True
    whole: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.name:
            raise KinemaError(f"the sampler {cls.__name__} has no name: set the attribute `name`")
        if cls.name in _SAMPLERS and type(_SAMPLERS[cls.name]).__qualname__ != cls.__qualname__:
            raise KinemaError(f"a sampler {cls.name!r} already exists: give {cls.__name__} another name")
        _SAMPLERS[cls.name] = cls()

    def ticks(self, spec: ClipSpec) -> int:
        """The fewest ticks from which a clip can be cut without repeating one."""
        raise NotImplementedError

    def train(self, n: int, spec: ClipSpec, rng: np.random.Generator) -> Ticks:
        """Draws the ticks of a training clip.

        Args:
            n: ticks of the video, at least `ticks(spec)`.
            spec: gives `frames` and `stride`.
            rng: source of all randomness.

        Returns:
            int64 [T] in [0, n), ascending.
        """
        raise NotImplementedError

    def test(self, n: int, spec: ClipSpec, clips: int) -> Ticks:
        """The ticks of test clips, the same at every call; one clip is the centre.

        Args:
            n: ticks of the video, at least `ticks(spec)`.
            spec: gives `frames` and `stride`.
            clips: how many, at least 1.

        Returns:
            int64 [clips, T] in [0, n).
        """
        raise NotImplementedError

    def spacing(self, spec: ClipSpec, duration: float, fps: float) -> float:
        """Seconds from one frame of a clip to the next, in a video of that duration and frame rate."""
        return duration / spec.frames if self.whole else spec.stride / fps


_SAMPLERS: dict[str, Sampler] = {}


def sampler_names() -> tuple[str, ...]:
    """The names that `ClipSpec.sampler` may have."""
    return tuple(sorted(_SAMPLERS))


def find_sampler(name: str) -> Sampler:
    """The sampler of that name.

    Raises:
        KinemaError: there is none; the nearest names are offered.
    """
    if name not in _SAMPLERS:
        raise unknown("clip.sampler", str(name), _SAMPLERS)
    return _SAMPLERS[name]


def strided(start: int, n: int, spec: ClipSpec) -> Ticks:
    """T ticks from `start`, `stride` apart or, if those overshoot, spread evenly to the last tick."""
    steps = np.arange(spec.frames, dtype=np.int64)
    left = n - 1 - start
    if spec.stride * (spec.frames - 1) <= left:
        return start + spec.stride * steps
    return start + steps * left // (spec.frames - 1)


def evenly_started(n: int, spec: ClipSpec, clips: int) -> Ticks:
    """Strided clips whose starts are evenly spaced from the first to the last possible one; one is in the middle."""
    span = min((spec.frames - 1) * spec.stride + 1, n)
    last = n - span
    starts = [last // 2] if clips == 1 else [(2 * j * last + clips - 1) // (2 * (clips - 1)) for j in range(clips)]
    return np.stack([strided(start, n, spec) for start in starts])
