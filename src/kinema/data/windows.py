"""Windows of a long video: their start and end, and the centre clip of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinema.clip_spec import ClipSpec
from kinema.data.pictures import Pictures
from kinema.data.samplers import needed_ticks, test_indices
from kinema.data.transforms import test_boxes
from kinema.data.video import FrameFolder, VideoReader, open_video, ticks
from kinema.data.views import Indices, view_bytes, wanted_frames
from kinema.errors import KinemaError, UnreadableVideo


@dataclass(frozen=True)
class Window:
    """A part of a long video with its clip, or with the reason why it has none.

    Attributes:
        start: seconds from the first frame.
        end: seconds from the first frame.
        clip: uint8 `T S S 3` with S as `ClipSpec.tested`, or None.
        error: reason why there is no clip, or None.
    """

    start: float
    end: float
    clip: Tensor | None = None
    error: UnreadableVideo | None = None


def sliding_windows(
    duration: float, window: float, step: float, frame: float = 0.0, *, first: int = 0
) -> Iterator[tuple[float, float]]:
    """Cuts a long video into windows of time that together cover it to its end.

    Window k begins at `k * step` and lasts `window`. The last window ends with the video, so it may be shorter. A
    remainder of less than half a frame is not a separate window; the last window is then longer by it.

    Args:
        duration: duration of the video, in seconds.
        window: length of a window, in seconds.
        step: seconds from the start of one window to the start of the next.
        frame: duration of the last frame, in seconds.
        first: number of the first window.

    Returns:
        An iterator over (start, end) in seconds, with at least one window if `first` is 0.

    Raises:
        KinemaError: the window or step is not positive, or the step leaves a gap between windows.
    """
    if not 0 < step <= window:
        raise KinemaError(f"windows of {window:g} s every {step:g} s: give 0 < step <= window")
    if first < 0:
        raise KinemaError(f"first window {first}: windows are counted from 0")
    count = 1 + max(0, math.ceil((duration - frame / 2 - window) / step - 1e-9))
    return ((k * step, k * step + window if k + 1 < count else duration) for k in range(first, count))


def window_spans(
    video: str | Path, spec: ClipSpec, window: float, step: float, start: float | None = None, end: float | None = None
) -> list[tuple[float, float]]:
    """Yields start and end of every window that `windows` cuts, without reading any picture of it.

    Args:
        video: a video file or frame folder.
        spec: specification of the clip of a window.
        window: length of a window, in seconds.
        step: seconds from the start of one window to the start of the next, at most `window`.
        start: start of the part that is cut into windows, in seconds from the first frame; None is the beginning.
        end: end of the part, in seconds; None is the end.

    Raises:
        UnreadableVideo: the file cannot be opened, or `start` is after its end.
        KinemaError: the window or step is not positive, or the step is longer than the window.
    """
    with open_video(video) as reader:
        first = start or 0.0
        last = reader.duration if end is None else min(end, reader.duration)
        if first >= last:
            raise UnreadableVideo(video, f"no frame from {first:g} s on: the video lasts {reader.duration:.2f} s")
        found = []
        for begin, until in sliding_windows(last - first, window, step, _last_frame(reader)):
            begin, until = first + begin, min(first + until, last)
            if spec.pad == "error" and until >= reader.duration:
                begin = max(first, _early_enough(reader, begin, needed_ticks(spec)))
            found.append((begin, until))
        return found


def windows(
    video: str | Path, spec: ClipSpec, window_seconds: float, step_seconds: float, *, first: int = 0
) -> Iterator[Window]:
    """Reads a long video of any length once and yields the centre clip of every window.

    A window whose frames cannot be read is yielded with the reason, and reading continues after the damage. If the file
    is cut off, one last window with the reason covers everything that is missing. Full frames are dropped after
    cutting; only the clips that overlap are in memory.

    Args:
        video: a video file or frame folder.
        spec: specification of the clip of a window.
        window_seconds: length of a window.
        step_seconds: seconds from the start of one window to the start of the next, at most `window_seconds`.
        first: number of the first window, counted from 0.

    Yields:
        Window `k`, which starts at `k * step_seconds`, in order of time. The last one ends with the video and may be
        shorter than the others; if it then has too few frames for a clip while `spec.pad` is `error`, it starts
        earlier.

    Raises:
        UnreadableVideo: the file cannot be opened, or the video is too short for a clip while `spec.pad` is `error`.
        KinemaError: the window or step is not positive, or the step is longer than the window.
    """

    def indices_of(n: int) -> Indices:
        return test_indices(n, spec, 1)[0]

    with open_video(video) as reader:
        wanted_frames(reader, indices_of)
        spans = sliding_windows(reader.duration, window_seconds, step_seconds, _last_frame(reader), first=first)
        held: dict[int, Tensor] = {}
        for start, end in spans:
            if spec.pad == "error" and end >= reader.duration:
                start = _early_enough(reader, start, needed_ticks(spec))
            try:
                wanted = wanted_frames(reader, indices_of, start, end)
                if wanted.min() >= reader.stored:
                    yield Window(start, reader.duration, error=_cut_off(reader))
                    return
                held = {index: part for index, part in held.items() if index >= wanted.min()}
                new = np.setdiff1d(wanted, np.fromiter(held, np.int64))
                if len(new):
                    # Kept only if all of them could be read: before that, none of them is known to be intact.
                    pictures = Pictures(reader, new)
                    (parts,) = pictures.cut(test_boxes(pictures.height, pictures.width, spec, 1), spec.tested)
                    held |= dict(zip(new.tolist(), parts, strict=True))
            except UnreadableVideo as error:
                yield Window(start, end, error=error)
            else:
                yield Window(start, end, torch.stack([held[int(index)] for index in wanted]))


def _last_frame(reader: VideoReader | FrameFolder) -> float:
    """Returns the duration of the last frame: of a long one, that of the previous frame, and at most 0.1 s."""
    gaps = np.diff([*reader.times[-2:], reader.duration])
    return min(float(gaps.min()), 0.1)


def _early_enough(reader: VideoReader | FrameFolder, start: float, need: int) -> float:
    """Returns the latest start, at most `start`, from which the rest of the video has enough ticks for a clip."""
    if len(ticks(reader.times, start, None, reader.duration)) >= need:
        return start
    return min(start, float(reader.times[max(0, len(reader) - need)]))


def _cut_off(reader: VideoReader | FrameFolder) -> UnreadableVideo:
    where = float(reader.times[reader.stored])
    reason = f"the file is cut off at {where:.2f} s ({reader.stored} of {len(reader)} frames exist)"
    return UnreadableVideo(reader.path, f"{reason}: copy or download it again")


class WindowReader:
    """Window k of a video under the key k; fast if keys come in ascending order, because the file then stays open.

    A sample is a dict: `clip` and `span` (start and end in seconds) for a window; `span` and `error` for one that
    cannot be read; only `error` if reading ended unexpectedly; empty after the last window.

    Args:
        video: a video file or frame folder.
        spec: specification of the clip of a window.
        window: length of a window, in seconds.
        step: seconds from the start of one window to the start of the next, at most `window`.

    Raises:
        KinemaError: the window or step is not positive, or the step is longer than the window.
    """

    def __init__(self, video: str | Path, spec: ClipSpec, window: float, step: float) -> None:
        if not 0 < step <= window:
            raise KinemaError(f"windows of {window:g} s every {step:g} s: give 0 < step <= window")
        self._video, self._spec, self._window, self._step = str(video), spec, window, step
        self._coming: Iterator[Window] = iter(())
        self._next = -1
        self._ended = False

    def __getitem__(self, number: int) -> dict[str, Any]:
        if self._ended:
            return {}
        if number != self._next:
            self._coming = windows(self._video, self._spec, self._window, self._step, first=number)
        try:
            found = next(self._coming, None)
        except BaseException:
            self._next = -1
            raise
        self._next = number + 1
        if found is None:
            self._ended = True
            return {}
        span = (found.start, found.end)
        return {"span": span, "error": found.error.reason} if found.error else {"span": span, "clip": found.clip}

    @property
    def item_bytes(self) -> int:
        """Size of a clip, in bytes."""
        return view_bytes(self._spec, 1, 1)

    def path(self, key: int) -> str:
        """Returns video and window: another window of the same video may be intact."""
        return f"{self._video}, window {key}"

    def failure(self, key: int, reason: str) -> dict[str, Any]:
        """Returns the placeholder for a window whose reading ended unexpectedly, or for a file that does not open."""
        return {"error": reason}

    def span(self, number: int) -> tuple[float, float]:
        """Returns start and end of a window in seconds, wherever the video ends."""
        return number * self._step, number * self._step + self._window

    def unreadable(self, reason: str) -> UnreadableVideo:
        """Returns the error of the whole video."""
        return UnreadableVideo(self._video, reason)
