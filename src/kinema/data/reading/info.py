"""Information about a video without its pictures, and the frames that a part of it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]
Frames = npt.NDArray[np.int64]

# Timestamps that are rounded to a coarse time base (24 frames per second in units of 1/30 s), and single lost frames,
# double a gap. A frame that is shown for more than this many normal gaps is a deliberate standstill.
_HELD = 2.1
# Limit for deviations of frames from a regular grid, in steps: rounding to a time base as coarse as the step gives 1.
_JITTER = 1.25
MOST_TICKS = 64  # per frame, on average


@dataclass(frozen=True)
class VideoInfo:
    """Information about one video.

    Attributes:
        path: the file or the folder of frames.
        frames: number of frames.
        fps: mean frames per second, the inverse of the mean time between frames. With a variable rate it says nothing
            about a part of the video: use `ticks` for that.
        duration: seconds from the beginning of the first frame to the end of the last one.
        width: width of the picture as shown, after rotation, in pixels.
        height: height of the picture as shown, after rotation, in pixels.
        codec: FFmpeg's name of the codec.
        variable_rate: True if frames deviate from a regular grid by more than a tenth of its step.
        has_audio: True if the file also has an audio stream.
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
    """True if frames deviate from a regular grid by more than rounding to the container's unit explains.

    Args:
        times: float64 [frames], seconds, ascending.
        unit: seconds per tick of the container's timestamps.
    """
    if len(times) < 3:
        return False
    grid = np.linspace(times[0], times[-1], len(times))
    period = (times[-1] - times[0]) / (len(times) - 1)
    return bool(np.abs(times - grid).max() > max(1.5 * unit, 0.1 * period))


def normal_gap(gaps: np.ndarray) -> float:
    """Returns the time between frames when a video runs at its normal rate, in seconds; 0 if no gap is above 0.

    This is the lower median of the gaps, so that a burst counts as normal if at least half of the frames belong to it.
    It is averaged with the gaps that differ from it by less than a seventh or a millisecond, because timestamps are
    rounded (29.97 frames per second in milliseconds: gaps of 33 and 34).

    Args:
        gaps: float64 [gaps], seconds.
    """
    positive = gaps[gaps > 0]
    if not len(positive):
        return 0.0
    median = np.partition(positive, (len(positive) - 1) // 2)[(len(positive) - 1) // 2]
    return float(positive[np.abs(positive - median) <= max(median / 7, 1.01e-3)].mean())


def part_frames(
    times: np.ndarray, start: float | None = None, end: float | None = None, duration: float | None = None
) -> Frames:
    """Returns the frames of a part of a video, each once.

    A frame is shown from its time until the time of the next frame. It belongs to the part that contains the middle of
    this interval. Two adjacent parts therefore share no frame and lose none, and a part whose bounds are rounded by
    less than half a frame has the intended frames.

    There are two additions. A frame that is shown for more than twice the normal gap (of the video or of the part) also
    belongs to a part that shows it for at least half of that gap, so that two parts that cut a standstill both show it.
    A part without frames by these rules, because it is shorter than a frame, has the frame that is shown in its middle.

    Args:
        times: float64 [frames], seconds, ascending; stamps may repeat.
        start: start of the part, in seconds since the first frame; None is the first frame.
        end: end of the part, in seconds, exclusive; None is the end of the last frame.
        duration: seconds from the first frame to the end of the last one; None assumes a last frame of normal length
            (one second if there is no other frame).

    Returns:
        int64 [n], ascending and without gaps. At least one if the part contains any of the video, else none.
    """
    bounds = _bounds(times, start, end, duration)
    return np.zeros(0, np.int64) if bounds is None else _members(times, *bounds)


def ticks(
    times: np.ndarray, start: float | None = None, end: float | None = None, duration: float | None = None
) -> Frames:
    """Returns the frames of a part of a video at the ticks of a regular clock, independent of the rest of the video.

    If the frames of the part (see `part_frames`) are on a regular grid, up to rounding and jitter, the ticks are these
    frames, each once. Otherwise the step of the clock is the normal gap of the part (`normal_gap`), and a frame gets
    one tick per step for which the part shows it, but at least one: motion keeps its speed, and no frame is skipped.
    Only a burst of frames much closer than the normal gap takes more ticks than its time has steps.

    There are at most `MOST_TICKS` ticks per frame, on average: otherwise a burst at 30 frames per second in an hour of
    standstill would give 100 000. Beyond this limit the step is longer, and every frame still has a tick.

    Args:
        times: float64 [frames], seconds, ascending; stamps may repeat.
        start: start of the part, in seconds since the first frame; None is the first frame.
        end: end of the part, in seconds, exclusive; None is the end of the last frame.
        duration: seconds from the first frame to the end of the last one; None assumes a last frame of normal length
            (one second if there is no other frame).

    Returns:
        int64 [n] frame indices, non-decreasing. At least one if the part contains any of the video, else none.
    """
    bounds = _bounds(times, start, end, duration)
    if bounds is None:
        return np.zeros(0, np.int64)
    first, last, close = bounds
    members = _members(times, first, last, close)
    if _is_regular(times[members]):
        return members
    edges = np.clip(_edges(times, members[0], members[-1] + 1, close), first, last)
    shown = np.diff(edges)
    step = max(normal_gap(shown), (last - first) / (MOST_TICKS * len(members)))
    if step == 0:  # the part is shorter than any number
        return members
    return np.repeat(members, _repeats(shown / step))


def _bounds(
    times: np.ndarray, start: float | None, end: float | None, duration: float | None
) -> tuple[float, float, float] | None:
    """Returns start and end of the part and end of the video, on the clock of `times`; None if the part is empty."""
    if not len(times):
        return None
    if duration is None:
        duration = float(times[-1] - times[0]) + (normal_gap(np.diff(times)) or 1.0)
    first = 0.0 if start is None else max(float(start), 0.0)
    last = duration if end is None else min(float(end), duration)
    if last <= first:
        return None
    zero = float(times[0])
    return zero + first, zero + last, zero + duration


def _members(times: np.ndarray, first: float, last: float, close: float) -> Frames:
    before = int(np.searchsorted(times, first, "right")) - 1  # the frame that is shown when the part begins
    low = max(0, min(before, int(np.searchsorted(times, first, "left"))))
    high = max(low + 1, int(np.searchsorted(times, last, "left")))
    edges = _edges(times, low, high, close)
    gaps, middles = np.diff(edges), (edges[:-1] + edges[1:]) / 2
    inside = (middles >= first) & (middles < last)
    step = min(normal_gap(gaps), normal_gap(np.diff(times)) or np.inf)
    shown = np.minimum(edges[1:], last) - np.maximum(edges[:-1], first)
    inside |= (gaps > _HELD * step) & (shown >= step / 2)
    if not inside.any():
        return np.array([max(0, int(np.searchsorted(times, (first + last) / 2, "right")) - 1)], np.int64)
    return low + np.flatnonzero(inside)


def _edges(times: np.ndarray, low: int, high: int, close: float) -> Seconds:
    """Returns when the frames from `low` to before `high` start, and when the last of them ends."""
    return np.append(times[low:high], times[high] if high < len(times) else max(close, times[-1]))


def _is_regular(times: np.ndarray) -> bool:
    """True if frames are evenly spaced, up to rounded timestamps and jitter of about a frame."""
    gaps = np.diff(times)
    if len(gaps) < 1:
        return True
    step = normal_gap(gaps)
    if not step or gaps.max() > _HELD * step:
        return False
    places = np.arange(len(times)) - (len(times) - 1) / 2
    slope = float(places @ times) / float(places @ places)
    return bool(np.ptp(times - slope * places) <= _JITTER * slope)


def _repeats(lengths: Seconds) -> Frames:
    """Returns the ticks per frame: its length in steps, at least one, rounded so that errors do not add up."""
    counts, owed = [], 0.0
    for length in lengths.tolist():
        owed += length
        count = max(1, int(owed + 0.5))
        owed = max(owed - count, -0.5)  # extra ticks of a burst are not taken from later frames
        counts.append(count)
    return np.array(counts, np.int64)
