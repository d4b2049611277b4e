"""The scores of a whole video over time: frame by frame if the network can stream, else window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinema.clip_spec import ClipSpec
from kinema.data.loading.limits import ReadLimits
from kinema.data.loading.loader import Loader, alone
from kinema.data.transforms import cut, test_boxes, to_input
from kinema.data.video import FrameFolder, VideoReader, open_video
from kinema.data.views import view_bytes
from kinema.errors import KinemaError, UnreadableVideo, unknown
from kinema.processes import room_for_readers
from kinema.recognizer import FailedWindow, Recognizer
from kinema.streaming.live import Pace

FilmMode = Literal["auto", "step", "delayed", "window"]
_CHUNK = 16  # frames per forward pass of a network that streams
_OVERLAP = 4  # windows that contain each moment, if no step is given
_HELD = 2.0  # a frame before missing ones covers at most this many times its usual time span
_LOST = 3  # after this many consecutive chunks that crash or hang their reader, the rest of the video is given up


@dataclass(frozen=True)
class LostPart:
    """A part of a video that could not be read.

    Attributes:
        t_start: seconds from the first frame.
        t_end: seconds from the first frame.
        reason: the reason, without the path.
    """

    t_start: float
    t_end: float
    reason: str


@dataclass(frozen=True)
class Track:
    """Scores over time.

    Attributes:
        starts: float64 [n], start of the time span of each row of scores, in seconds from the first frame.
        ends: float64 [n], end of each time span, in seconds.
        known: float64 [n], seconds at which all frames behind the scores had been seen.
        scores: float64 [n, K]; each row sums to 1 unless the recognizer is `multi_label`.
        duration: seconds of the video.
        lost: the parts that could not be read, in temporal order.
    """

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    known: NDArray[np.float64]
    scores: NDArray[np.float64]
    duration: float
    lost: tuple[LostPart, ...] = ()


@dataclass(frozen=True)
class Sight:
    """How a recognizer is run on a video.

    Attributes:
        mode: `step`, `delayed` (see `Live`) or `window`.
        rate: frames per second in the modes `step` and `delayed`, else None.
        window: seconds of a window in the mode `window`, else None.
        step: seconds from one window to the next, else None.
    """

    mode: FilmMode
    rate: float | None = None
    window: float | None = None
    step: float | None = None

    def describe(self) -> str:
        """Returns a short description."""
        if self.mode == "window":
            return f"windows of {self.window:.3g} s every {self.step:.3g} s"
        return f"mode {self.mode}, {self.rate:.3g} frames per second"


def choose_sight(
    recognizer: Recognizer, *, mode: FilmMode = "auto", rate: float | None = None, window: float | None = None,
    step: float | None = None,
) -> Sight:  # fmt: skip
    """Chooses how a recognizer is run on videos: `step` if the network is causal, else sliding windows.

    Args:
        recognizer: the recognizer; the defaults follow from the frame spacing of training in its card.
        mode: see `Sight`; `auto` is `window` if a window is given or the network cannot stream, else `step`.
        rate: frames per second; None is that of the training.
        window: seconds; None is the duration of a clip in training.
        step: seconds, at most the window; None is a quarter of the window.

    Returns:
        The mode with its rate, or its window and step.

    Raises:
        KinemaError: the network lacks the mode, a time is not positive or not known, or the recognizer is multi-label.
    """
    if mode not in get_args(FilmMode):
        raise unknown("mode", str(mode), get_args(FilmMode))
    if recognizer.multi_label:
        raise KinemaError(
            "the recognizer predicts several labels per video, but a timeline has one label at a time: use predict "
            "with --window, which prints all labels of every window"
        )
    if mode == "auto":
        windows = window is not None or step is not None or not _streams(recognizer)
        mode = "window" if windows else "step"
    if mode != "window":
        if window is not None or step is not None:
            raise KinemaError(f"window {window}, step {step}: mode {mode} has no windows; remove them or choose window")
        _initial_state(recognizer, mode)
        rate = rate if rate is not None else recognizer.rate
        if rate is None:
            raise KinemaError("rate is not known, because the card does not state the frame spacing: give --rate")
        return Sight(mode, 1 / Pace(rate).interval)
    if rate is not None:
        Pace(rate)
    if window is None:
        rate = rate if rate is not None else recognizer.rate
        if rate is None:
            raise KinemaError("window is not known, because the card does not state the frame spacing: give --window")
        window = recognizer.spec.frames / rate
    step = window / _OVERLAP if step is None else step
    if not (0 < window < np.inf and 0 < step <= window):
        raise KinemaError(f"window {window:g} s, step {step:g} s: give seconds with 0 < step <= window")
    return Sight("window", None, float(window), float(step))


def read_track(
    recognizer: Recognizer, video: str | Path, sight: Sight, *, workers: int = 1, limits: ReadLimits | None = None,
    progress: Callable[[float], None] | None = None,
) -> Track:  # fmt: skip
    """Computes the scores of a video.

    Unreadable parts are skipped and listed; in mode `step` the network continues with the next frame.

    Args:
        recognizer: the recognizer.
        video: a video file or a folder of frames.
        sight: how to run it, from `choose_sight`.
        workers: 0 reads in this process, without protection from a file that crashes or hangs the decoder; any other
            number in a separate process.
        limits: limits for reading a few frames.
        progress: called with the finished seconds of the video; an exception that it raises ends the work.

    Raises:
        UnreadableVideo: the video cannot be opened, or no part of it can be read.
    """
    readers, told = min(abs(workers), 1), progress or _ignore
    if sight.mode == "window":
        return _by_windows(recognizer, video, sight, readers, limits, told)
    return _by_steps(recognizer, video, sight, readers, limits, told)


def _ignore(seconds: float) -> None:
    pass


def _streams(recognizer: Recognizer) -> bool:
    try:
        _initial_state(recognizer, "step")
    except KinemaError:
        return False
    return True


def _initial_state(recognizer: Recognizer, mode: FilmMode) -> dict[str, Tensor]:
    return recognizer.model.initial_state(1, size=recognizer.spec.tested, delayed=mode == "delayed")


def _by_windows(
    recognizer: Recognizer, video: str | Path, sight: Sight, readers: int, limits: ReadLimits | None,
    told: Callable[[float], None],
) -> Track:  # fmt: skip
    """Assigns scores to half a step on each side of a window's centre; the outermost reach the ends of the video."""
    assert sight.window is not None
    place = {label: i for i, label in enumerate(recognizer.labels)}
    rows, spans, lost = [], [], []
    end = 0.0
    for part in recognizer.predict_windows(
        video, window=sight.window, step=sight.step, top_k=len(place), workers=readers, limits=limits
    ):
        end = max(end, part.t_end)
        told(end)
        if isinstance(part, FailedWindow):
            lost.append(LostPart(part.t_start, part.t_end, part.reason))
            continue
        row = np.empty(len(place))
        row[[place[label] for label, _ in part.top_k]] = [score for _, score in part.top_k]
        rows.append(row)
        spans.append((part.t_start, part.t_end))
    if not rows:
        raise UnreadableVideo(video, lost[0].reason if lost else "it holds no window")
    begins, known = np.array(spans).T
    middles = (begins + known) / 2
    half = (sight.step or sight.window) / 2
    starts, ends = middles - half, middles + half
    # Neighbouring spans share their border exactly; a missing window leaves a gap.
    near = starts[1:] - ends[:-1] < half
    borders = (middles[1:] + middles[:-1]) / 2
    starts[1:], ends[:-1] = np.where(near, borders, starts[1:]), np.where(near, borders, ends[:-1])
    if begins[0] <= 0:
        starts[0] = 0.0
    if known[-1] >= end:
        ends[-1] = end
    return Track(starts, ends, known, np.stack(rows), end, tuple(lost))


@torch.inference_mode()
def _by_steps(
    recognizer: Recognizer, video: str | Path, sight: Sight, readers: int, limits: ReadLimits | None,
    told: Callable[[float], None],
) -> Track:  # fmt: skip
    assert sight.rate is not None
    model, state = recognizer.model.eval(), _initial_state(recognizer, sight.mode)
    waiting: list[float] = []  # times of frames whose scores are not yet known
    times: list[float] = []
    known: list[float] = []
    rows: list[NDArray[np.float64]] = []
    lost: list[LostPart] = []
    duration, now = 0.0, 0.0

    def take(logits: Tensor, at: list[float]) -> None:
        for row, seen in zip(logits[0].cpu(), at, strict=True):
            if not row.isnan().any():
                times.append(waiting.pop(0))
                known.append(seen)
                rows.append(recognizer.to_scores(row).double().numpy())

    with _chunks(video, recognizer.spec, sight.rate, readers, limits) as loader:
        for found in _sound(loader, video, _CHUNK / sight.rate, lost):
            duration = found["duration"]
            at = found["times"].tolist()
            if not at:
                continue
            with room_for_readers(readers):
                waiting += at
                logits, state = model.step(
                    to_input(found["frames"][None].to(recognizer.device), recognizer.spec), state
                )
                take(logits, at)
            now = at[-1]
            told(now)
    if waiting and sight.mode == "delayed":
        logits, _ = model.flush(state)  # type: ignore[operator]
        take(logits, [now] * logits.shape[1])
    if not rows:
        raise UnreadableVideo(video, lost[0].reason if lost else "it holds no frame")
    starts = np.array(times)
    ends = np.minimum(np.append(starts[1:], duration), starts + _HELD / sight.rate)
    return Track(starts, ends, np.array(known), np.stack(rows), duration, tuple(lost))


def _chunks(
    video: str | Path, spec: ClipSpec, rate: float, readers: int, limits: ReadLimits | None
) -> Loader[dict[str, Any]]:
    numbers = ([number] for number in count())
    return Loader(_Chunks(video, spec, rate), numbers, alone, readers=readers, largest=1, limits=limits)


def _sound(
    loader: Loader[dict[str, Any]], video: str | Path, chunk: float, lost: list[LostPart]
) -> Iterator[dict[str, Any]]:
    """Yields the chunks of a video, of a given number of seconds, until its end; adds lost parts to the list."""
    broken, end = 0, 0.0
    for number, found in enumerate(loader):
        if not found:
            return
        if "error" in found:
            if number == 0:
                raise UnreadableVideo(video, found["error"])
            broken += 1
            lost.append(LostPart(end, end + chunk, found["error"]))
            end += chunk
            if broken == _LOST:
                return
            continue
        broken = 0
        lost += [LostPart(*part) for part in found["lost"]]
        end = found["end"]
        yield found


class _Chunks:
    """The frames of a video that a stream would use, a few at a time, cropped for a network; a data set for `Loader`.

    A sample is a dict with `frames`, uint8 `n S S 3`, their `times`, the `duration` of the video, the `end` of the
    chunk and the `lost` parts in it. There is no sample after the last frame.
    """

    def __init__(self, video: str | Path, spec: ClipSpec, rate: float) -> None:
        self._video, self._spec, self._rate = str(video), spec, rate
        self._reader: VideoReader | FrameFolder | None = None
        self._wanted: NDArray[np.int64] = np.empty(0, np.int64)

    def __getitem__(self, number: int) -> dict[str, Any]:
        if self._reader is None:
            self._reader = open_video(self._video)
            pace = Pace(self._rate)
            taken = [i for i, time in enumerate(self._reader.times.tolist()) if pace.wants(time)]
            self._wanted = np.array(taken, np.int64)
        reader = self._reader
        wanted = self._wanted[number * _CHUNK : (number + 1) * _CHUNK]
        if not len(wanted):
            return {}
        cuts: dict[int, Tensor] = {}
        reason = ""
        try:
            for index, picture in reader.frames(wanted):
                box = test_boxes(picture.shape[0], picture.shape[1], self._spec, 1)[0]
                cuts[index] = cut(torch.from_numpy(picture.copy())[None], box, self._spec.tested, flip=False)[0]
        except UnreadableVideo as error:
            reason = error.reason
        borders = np.append(reader.times, reader.duration)
        behind = self._wanted[(number + 1) * _CHUNK :][:1]
        ends = borders[np.concatenate([wanted[1:], behind if len(behind) else [len(reader)]])]
        there = np.array([index in cuts for index in wanted.tolist()])
        size = self._spec.tested
        frames = (
            torch.stack([cuts[i] for i in sorted(cuts)]) if cuts else torch.empty(0, size, size, 3, dtype=torch.uint8)
        )
        return {
            "frames": frames,
            "times": reader.times[wanted[there]],
            "duration": float(reader.duration),
            "end": float(ends[-1]),
            "lost": _runs(reader.times[wanted], ends, ~there, reason),
        }

    @property
    def item_bytes(self) -> int:
        """Number of bytes of the frames of a chunk."""
        return _CHUNK * view_bytes(self._spec, 1, 1) // self._spec.frames

    def path(self, key: int) -> str:
        """The video."""
        return self._video

    def failure(self, key: int, reason: str) -> dict[str, Any]:
        """Returns the sample for a chunk whose reader ended unexpectedly, or for a video that cannot be opened."""
        return {"error": reason}


def _runs(
    starts: NDArray[np.float64], ends: NDArray[np.float64], lost: NDArray[np.bool_], reason: str
) -> list[tuple[float, float, str]]:
    """Merges adjacent lost frames into one part."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], lost, [False]]).astype(int)))
    return [(float(starts[a]), float(ends[b - 1]), reason) for a, b in edges.reshape(-1, 2)]
