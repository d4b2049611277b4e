"""Which frames of a video make a clip: pure functions on the n ticks of a regular time grid (`video.ticks`).

A sampler is a subclass of `Sampler` in a file of its own in this folder, or anywhere else: its `name` is what
`ClipSpec.sampler` says. A video that is too short is first extended to the ticks that a clip needs, by `ClipSpec.pad`:
`loop` starts again from the first tick, `last` repeats the last one, `error` refuses. Samplers see the extended video.
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
    """The fewest ticks from which a clip can be cut without completing it by `spec.pad`."""
    return find_sampler(spec.sampler).ticks(spec)


def train_indices(n: int, spec: ClipSpec, rng: np.random.Generator) -> Ticks:
    """Draws the frames of one training clip, see `Sampler.train`.

    Args:
        n: ticks of the video.
        spec: the clip.
        rng: source of all randomness.

    Returns:
        int64 [T], ascending except where `loop` starts again.

    Raises:
        KinemaError: the video has no tick, or too few of them while `spec.pad` is `error`.
    """
    return _fold(find_sampler(spec.sampler).train(_extended(n, spec), spec, rng), n, spec)


def test_indices(n: int, spec: ClipSpec, clips: int) -> Ticks:
    """The frames of `clips` test clips, see `Sampler.test`; the same at every call, and one clip is the centre.

    Args:
        n: ticks of the video.
        spec: the clip.
        clips: how many.

    Returns:
        int64 [clips, T].

    Raises:
        KinemaError: no clip asked for, no tick, or too few ticks while `spec.pad` is `error`.
    """
    if clips < 1:
        raise KinemaError(f"{clips} test clips were requested: give at least 1")
    return _fold(find_sampler(spec.sampler).test(_extended(n, spec), spec, clips), n, spec)


def random_indices(n: int, spec: ClipSpec, clips: int, rng: np.random.Generator) -> Ticks:
    """The frames of `clips` test clips that are drawn as in training (STM, section 4.2), ordered by their starts.

    Args:
        n: ticks of the video.
        spec: the clip.
        clips: how many.
        rng: source of all randomness.

    Returns:
        int64 [clips, T].

    Raises:
        KinemaError: no clip asked for, no tick, or too few ticks while `spec.pad` is `error`.
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
            f"the clip needs {need} frames but the video has {n}: set clip.pad to loop or last, or clip.frames lower"
        )
    return max(n, need)


def _fold(ticks: NDArray[np.integer], n: int, spec: ClipSpec) -> Ticks:
    """From ticks of the extended video to ticks of the video."""
    folded = np.minimum(ticks, n - 1) if spec.pad == "last" else ticks % n
    return folded.astype(np.int64)
