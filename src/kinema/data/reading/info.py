"""What is known of a video before any of its pictures is looked at, and its regular time grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class VideoInfo:
    """Facts about one video.

    Attributes:
        path: the file or the folder of frames.
        frames: how many there are.
        fps: mean frames per second, the inverse of the mean time from a frame to the next.
        duration: seconds, `frames / fps`.
        width: of the picture as shown, after rotation, pixels.
        height: of the picture as shown, after rotation, pixels.
        codec: FFmpeg's name.
        variable_rate: frames lie off a regular grid by more than a tenth of its step.
        has_audio: a sound stream lies beside the video.
    """

    path: str
    frames: int
    fps: float
    duration: float
    width: int
    height: int
    codec: str
    variable_rate: bool
    has_audio: bool


def is_variable(times: np.ndarray, unit: float) -> bool:
    """Whether frames lie off a regular grid, beyond what rounding to the container's unit explains.

    Args:
        times: float64 [frames], seconds, ascending.
        unit: seconds of one tick of the container's stamps.
    """
    if len(times) < 3:
        return False
    grid = np.linspace(times[0], times[-1], len(times))
    period = (times[-1] - times[0]) / (len(times) - 1)
    return bool(np.abs(times - grid).max() > max(1.5 * unit, 0.1 * period))


def ticks(times: np.ndarray, start: float | None = None, end: float | None = None) -> np.ndarray:
    """The frames that a regular clock shows: one tick per mean frame period, over a part of the video or all of it.

    A tick looks at the middle of its period, so that stamps that are rounded or jitter by less than half a period give
    every frame exactly once. With a constant frame rate and no bounds the result is `arange(frames)`; with a variable
    rate a frame that stays long is met several times, and frames in a burst may be passed over.

    Args:
        times: float64 [frames], seconds since the first frame, ascending.
        start: seconds; None is the first frame.
        end: seconds, not included; None is the end of the last frame.

    Returns:
        int64 [n] frame indices, not descending. At least one if the bounds hold any of the video, else none.
    """
    n = len(times)
    if n < 2:
        return np.arange(n)
    period = (times[-1] - times[0]) / (n - 1)
    first = 0.0 if start is None else max(float(start), 0.0)
    last = n * period if end is None else min(float(end), n * period)
    if last <= first:
        return np.zeros(0, np.int64)
    count = max(1, round((last - first) / period))
    middles = times[0] + first + (np.arange(count) + 0.5) * (last - first) / count
    return np.searchsorted(times, middles, "right") - 1
