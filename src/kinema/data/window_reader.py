"""The windows of a long video, one after another, for a `Loader`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kinema.clip_spec import ClipSpec
from kinema.data.clips import Window, windows
from kinema.data.views import view_bytes
from kinema.errors import KinemaError, UnreadableVideo


class WindowReader:
    """Window k of a video under the key k; cheap where keys come in ascending order, for then the file stays open.

    A sample is a dict: `clip` and `span` (start and end in seconds) of a window; `span` and `error` of one that cannot
    be read; `error` alone where reading ended unexpectedly; nothing behind the last window.

    Args:
        video: a video file or frame folder.
        spec: how to cut a clip from a window.
        window: seconds of a window.
        step: seconds from the start of one window to the start of the next, at most the window.

    Raises:
        KinemaError: a window or step that is not positive, or a step longer than the window.
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
        """Bytes of a clip."""
        return view_bytes(self._spec, 1, 1)

    def path(self, key: int) -> str:
        """The video and the window: another window of the same video may be sound."""
        return f"{self._video}, window {key}"

    def failure(self, key: int, reason: str) -> dict[str, Any]:
        """What stands for a window whose reading ended unexpectedly, or for a video that cannot be opened."""
        return {"error": reason}

    def span(self, number: int) -> tuple[float, float]:
        """Start and end of a window in seconds, wherever the video ends."""
        return number * self._step, number * self._step + self._window

    def unreadable(self, reason: str) -> UnreadableVideo:
        """The error of the whole video."""
        return UnreadableVideo(self._video, reason)
