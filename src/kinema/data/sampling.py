"""Which frames of a video make a clip: pure functions on the n ticks of a regular time grid (`video.ticks`).

Every sampler first extends a video that is too short to the ticks the clip needs, by `ClipSpec.pad`: `loop` starts
again from the first tick, `last` repeats the last one, `error` refuses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError

Ticks = NDArray[np.int64]


def needed_ticks(spec: ClipSpec) -> int:
    """The fewest ticks from which a clip can be cut without completing it by `spec.pad`.

    `segments` needs a tick for every frame, `dense` the whole span of its stride; `normal` needs a tick for every frame
    because its stride gives way before a frame is repeated.
    """
    return (spec.frames - 1) * spec.stride + 1 if spec.sampler == "dense" else spec.frames


def train_indices(n: int, spec: ClipSpec, rng: np.random.Generator) -> Ticks:
    """Draws the frames of one training clip.

    - `segments`: one tick, uniformly random, of each of T parts of equal length (TSN). No tick is taken twice.
    - `dense`: T ticks `stride` apart from a uniformly random start.
    - `normal`: the start is drawn from a normal distribution with mean n/4 and deviation n/6, redrawn until it lies in
      [0, n/2] (thesis, figure 5.6), and moved forward so far that T ticks are left. From there T ticks `stride` apart;
      where those overshoot the end, T ticks spread evenly from the start to the last tick.

    Args:
        n: ticks of the video.
        spec: the clip.
        rng: source of all randomness.

    Returns:
        int64 [T], ascending except where `loop` starts again.

    Raises:
        KinemaError: the video has no tick, or too few of them while `spec.pad` is `error`.
    """
    length = _extended(n, spec)
    steps = np.arange(spec.frames)
    if spec.sampler == "segments":
        edges = np.arange(spec.frames + 1) * length // spec.frames
        return _fold(rng.integers(edges[:-1], edges[1:]), n, spec)
    if spec.sampler == "dense":
        start = int(rng.integers(0, length - needed_ticks(spec) + 1))
        return _fold(start + spec.stride * steps, n, spec)
    start = min(_normal_start(length, rng), length - spec.frames)
    return _fold(_strided(start, length, spec), n, spec)


def test_indices(n: int, spec: ClipSpec, clips: int) -> Ticks:
    """The frames of `clips` test clips, the same at every call; one clip is the centre.

    - `segments`: clip j takes the point (j + 0.5) / clips of every one of the T parts. A point on the border of two
      ticks goes to the one nearer to the middle of the video, so that reversing the video reverses clips and frames
      exactly (except a point in the very middle, which only an odd number clips * T has). All clips differ from
      n = clips * T on.
    - `dense` and `normal`: starts evenly spaced from the first to the last possible one, one clip is in the middle.
      Where the stride of `normal` overshoots the video, all clips are the T ticks spread evenly over it.

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
        raise KinemaError(f"{clips} test clips were asked for: give at least 1")
    length = _extended(n, spec)
    if spec.sampler == "segments":
        return _fold(_centres(length, clips * spec.frames).reshape(spec.frames, clips).T, n, spec)
    span = min((spec.frames - 1) * spec.stride + 1, length)
    last = length - span
    starts = [last // 2] if clips == 1 else [(2 * j * last + clips - 1) // (2 * (clips - 1)) for j in range(clips)]
    return _fold(np.stack([_strided(start, length, spec) for start in starts]), n, spec)


def sliding_windows(
    duration: float, window: float, step: float, frame: float = 0.0, *, first: int = 0
) -> Iterator[tuple[float, float]]:
    """Cuts a long video into windows of time that together cover it to its end.

    Window k begins at `k * step` and lasts `window`; the last one ends with the video, so it may be shorter. Less than
    half a frame is no window of its own: the last window is then longer by this.

    Args:
        duration: seconds of the video.
        window: seconds of a window.
        step: seconds from the start of one window to the start of the next.
        frame: seconds of the last frame.
        first: number of the window to begin with.

    Returns:
        An iterator over (start, end) in seconds, with at least one window if `first` is 0.

    Raises:
        KinemaError: a window or step that is not positive, or a step that leaves time between two windows unseen.
    """
    if not 0 < step <= window:
        raise KinemaError(f"windows of {window:g} s every {step:g} s: give 0 < step <= window")
    if first < 0:
        raise KinemaError(f"first window {first}: windows are counted from 0")
    count = 1 + max(0, math.ceil((duration - frame / 2 - window) / step - 1e-9))
    return ((k * step, k * step + window if k + 1 < count else duration) for k in range(first, count))


def _extended(n: int, spec: ClipSpec) -> int:
    if n < 1:
        raise KinemaError("the video has no frame in the part that was asked for: check its start and end")
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


def _centres(n: int, parts: int) -> Ticks:
    """The tick under the middle of each of `parts` equal parts, ties towards the middle of the video."""
    doubled = (2 * np.arange(parts, dtype=np.int64) + 1) * n  # middle of part k = doubled / (2 * parts)
    ticks, rest = np.divmod(doubled, 2 * parts)
    return ticks - ((rest == 0) & (doubled > n * parts))


def _strided(start: int, n: int, spec: ClipSpec) -> Ticks:
    """T ticks from `start`, `stride` apart or, if those overshoot, spread evenly to the last tick."""
    steps = np.arange(spec.frames, dtype=np.int64)
    left = n - 1 - start
    if spec.stride * (spec.frames - 1) <= left:
        return start + spec.stride * steps
    return start + steps * left // (spec.frames - 1)


def _normal_start(n: int, rng: np.random.Generator) -> int:
    while True:  # 87 % of the draws are inside
        start = rng.normal(n / 4, n / 6)
        if 0 <= start <= n / 2:
            return int(start)
