"""Samplers choose the frames of a clip: pure functions of the n ticks of a regular time grid (`video.ticks`).

A sampler is a subclass of `Sampler` in its own file in this folder, or anywhere else; `ClipSpec.sampler` is its `name`.
A video that is too short is first extended to the ticks that a clip needs, by `ClipSpec.pad`: `loop` starts again from
the first tick, `last` repeats the last one, `error` rejects the video. Samplers receive the extended video.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

import numpy as np
from numpy.typing import NDArray

from kinema.clip_spec import ClipSpec
from kinema.data.samplers.base import Sampler, Ticks, find_sampler, sampler_names
from kinema.errors import KinemaError

__all__ = ["Sampler", "Ticks", "find_sampler", "needed_ticks", "random_indices", "sampler_names", "test_indices",
           "train_indices"]  # fmt: skip

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def needed_ticks(spec: ClipSpec) -> int:
    """Returns the fewest ticks from which a clip can be cut without extension by `spec.pad`."""
    return find_sampler(spec.sampler).ticks(spec)


def train_indices(n: int, spec: ClipSpec, rng: np.random.Generator) -> Ticks:
    """Draws the frames of one training clip (see `Sampler.train`).

    Args:
        n: number of ticks of the video.
        spec: specification of the clip.
        rng: source of all randomness.

    Returns:
        int64 [T], ascending except if `loop` starts again.

    Raises:
        KinemaError: the video has no tick, or too few while `spec.pad` is `error`.
    """
    return _fold(find_sampler(spec.sampler).train(_extended(n, spec), spec, rng), n, spec)


def test_indices(n: int, spec: ClipSpec, clips: int) -> Ticks:
    """Returns the frames of `clips` test clips (see `Sampler.test`); always the same, and a single clip is the centre.

    Args:
        n: number of ticks of the video.
        spec: specification of the clips.
        clips: number of clips.

    Returns:
        int64 [clips, T].

    Raises:
        KinemaError: `clips` is below 1, or there is no tick, or too few ticks while `spec.pad` is `error`.
    """
    if clips < 1:
        raise KinemaError(f"{clips} test clips were requested: give at least 1")
    return _fold(find_sampler(spec.sampler).test(_extended(n, spec), spec, clips), n, spec)


def random_indices(n: int, spec: ClipSpec, clips: int, rng: np.random.Generator) -> Ticks:
    """Draws the frames of `clips` test clips as in training (STM, section 4.2), ordered by their starts.

    Args:
        n: number of ticks of the video.
        spec: specification of the clips.
        clips: number of clips.
        rng: source of all randomness.

    Returns:
        int64 [clips, T].

    Raises:
        KinemaError: `clips` is below 1, or there is no tick, or too few ticks while `spec.pad` is `error`.
    """
    if clips < 1:
        raise KinemaError(f"{clips} test clips were requested: give at least 1")
    drawn = sorted(train_indices(n, spec, rng).tolist() for _ in range(clips))
    return np.array(drawn, dtype=np.int64)


def _extended(n: int, spec: ClipSpec) -> int:
    if n < 1:
        raise KinemaError("the video has no frame in the requested part: check its start and end")
    need = needed_ticks(spec)
    if n < need and spec.pad == "error":
        raise KinemaError(
            f"the clip needs {need} frames but the video has {n}: set clip.pad to loop or last, or lower clip.frames"
        )
    return max(n, need)


def _fold(ticks: NDArray[np.integer], n: int, spec: ClipSpec) -> Ticks:
    """Maps ticks of the extended video to ticks of the video."""
    folded = np.minimum(ticks, n - 1) if spec.pad == "last" else ticks % n
    return folded.astype(np.int64)
