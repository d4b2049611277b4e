"""The base class of samplers, and the registry of all samplers."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError, unknown

Ticks = NDArray[np.int64]


class Sampler:
    """Chooses the ticks of a video for a clip. A subclass with a `name` can then be used as `ClipSpec.sampler`.

    Attributes:
        name: the value for `ClipSpec.sampler`.
        strided: True if `ClipSpec.stride` has an effect.
        whole: True if a clip represents the whole video, not only the time from its first to its last frame.
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
        """Returns the fewest ticks from which a clip can be cut without repeating one."""
        raise NotImplementedError

    def train(self, n: int, spec: ClipSpec, rng: np.random.Generator) -> Ticks:
        """Draws the ticks of a training clip.

        Args:
            n: number of ticks of the video, at least `ticks(spec)`.
            spec: specification; `frames` and `stride` are used.
            rng: source of all randomness.

        Returns:
            int64 [T] in [0, n), ascending.
        """
        raise NotImplementedError

    def test(self, n: int, spec: ClipSpec, clips: int) -> Ticks:
        """Returns the ticks of test clips, the same at every call; a single clip is the centre.

        Args:
            n: number of ticks of the video, at least `ticks(spec)`.
            spec: specification; `frames` and `stride` are used.
            clips: number of clips, at least 1.

        Returns:
            int64 [clips, T] in [0, n).
        """
        raise NotImplementedError

    def spacing(self, spec: ClipSpec, duration: float, fps: float) -> float:
        """Returns the seconds between frames of a clip, in a video of that duration and frame rate."""
        return duration / spec.frames if self.whole else spec.stride / fps


_SAMPLERS: dict[str, Sampler] = {}


def sampler_names() -> tuple[str, ...]:
    """Returns the possible values of `ClipSpec.sampler`."""
    return tuple(sorted(_SAMPLERS))


def find_sampler(name: str) -> Sampler:
    """Returns the sampler with that name.

    Raises:
        KinemaError: there is none; the message suggests the nearest names.
    """
    if name not in _SAMPLERS:
        raise unknown("clip.sampler", str(name), _SAMPLERS)
    return _SAMPLERS[name]


def strided(start: int, n: int, spec: ClipSpec) -> Ticks:
    """Returns T ticks from `start`, `stride` apart; if those exceed the video, spread evenly to the last tick."""
    steps = np.arange(spec.frames, dtype=np.int64)
    left = n - 1 - start
    if spec.stride * (spec.frames - 1) <= left:
        return start + spec.stride * steps
    return start + steps * left // (spec.frames - 1)


def evenly_started(n: int, spec: ClipSpec, clips: int) -> Ticks:
    """Returns strided clips with evenly spaced starts, from the first to the last possible; a single one is central."""
    span = min((spec.frames - 1) * spec.stride + 1, n)
    last = n - span
    starts = [last // 2] if clips == 1 else [(2 * j * last + clips - 1) // (2 * (clips - 1)) for j in range(clips)]
    return np.stack([strided(start, n, spec) for start in starts])
