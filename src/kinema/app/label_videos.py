"""The videos of a folder as browsers play them: converted when they are opened, and the next one in advance."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from kinema.errors import KinemaError
from kinema.media.conversion import Converted, convert
from kinema.media.jobs import Job, Jobs
from kinema.media.limits import UploadLimits
from kinema.media.sessions import Session

_LONGEST = 4 * 3600.0  # seconds of a film: those of the server's own folder may be longer than uploads
_KEPT = 4  # converted videos of a visitor


class LabelVideos:
    """Converted videos of one visitor; safe to use from several threads.

    Args:
        session: of the visitor; gets the files.
        limits: of uploads; videos of a folder may be longer.
        jobs: of the server: what is converted in advance ends with the page that it is for.
        ahead: converts in advance, for all visitors one after the other.
    """

    def __init__(self, session: Session, limits: UploadLimits, jobs: Jobs, ahead: ThreadPoolExecutor) -> None:
        self._session, self._limits = session, replace(limits, seconds=max(_LONGEST, limits.seconds))
        self._jobs, self._ahead, self._lock = jobs, ahead, threading.Lock()
        self._made: dict[str, tuple[Path, Converted]] = {}
        self._coming: dict[str, Future[None]] = {}

    def open(self, video: str) -> Path:
        """The converted video; one that is being converted in advance is waited for.

        Raises:
            UnreadableVideo: nothing of it can be decoded, or it is beyond a limit.
        """
        with self._lock:
            coming = self._coming.pop(video, None)
        if coming is not None and not coming.cancel():
            coming.exception()  # only waits: what has failed or was stopped is tried again here
        if video not in self._made:
            self._convert(video, Job())
        with self._lock:
            self._made[video] = self._made.pop(video)  # the newest
            return self._made[video][0]

    def seconds(self, video: str, otherwise: float = 0.0) -> float:
        """How long a video is, where it has been converted."""
        found = self._made.get(video)
        return otherwise if found is None else found[1].seconds

    def prepare(self, videos: Sequence[str], page: str) -> None:
        """Begins to convert videos that will be opened next.

        Args:
            videos: their paths; what was asked for earlier and has not begun is forgotten.
            page: that will show them, whose end stops this.
        """
        with self._lock:
            for video, coming in list(self._coming.items()):
                if coming.done() or (video not in videos and coming.cancel()):
                    del self._coming[video]
            for video in videos:
                if video not in self._made and video not in self._coming:
                    with suppress(RuntimeError):  # the server is closing
                        self._coming[video] = self._ahead.submit(self._in_advance, video, page)

    def _in_advance(self, video: str, page: str) -> None:
        with suppress(KinemaError), self._jobs.run(page, part="label") as job:
            self._convert(video, job)

    def _convert(self, video: str, job: Job) -> None:
        place = self._session.place(".mp4", f"{Path(video).stem}.mp4")
        made = convert(Path(video), place, self._limits, name=Path(video).name, progress=job.step("converting"))
        with self._lock:
            self._made[video] = (place, made)
            while len(self._made) > _KEPT:
                self._made.pop(next(iter(self._made)))[0].unlink(missing_ok=True)
