"""Jobs of visitors that can be stopped: by a button, or when the page that requested them is closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kinema.errors import KinemaError

Report = Callable[[float, str], None]


class Stopped(KinemaError):
    """The visitor has stopped a job, or has closed the page that requested it."""


class Job:
    """The work of one page. It calls the functions of `step` often; they raise `Stopped` once the job is stopped.

    Args:
        report: called with the finished share of the job, 0 to 1, and the text for the visitor.
        clock: returns seconds; tests replace it.
    """

    def __init__(self, report: Report | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._report, self._clock = report, clock
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Makes the next `check` raise `Stopped`; may be called from any thread."""
        self._stopped.set()

    def check(self) -> None:
        """Raises `Stopped` if the job was stopped."""
        if self._stopped.is_set():
            raise Stopped("stopped by the page that asked for it: start it again")

    def step(self, what: str, start: float = 0.0, end: float = 1.0) -> Callable[[float, float], None]:
        """Begins a part of the job.

        Args:
            what: name of the part, for the visitor.
            start: share of the job at which the part begins, 0 to 1.
            end: share at which it ends.

        Returns:
            A function to call with the finished units and their total. It reports the progress of the job and the
            remaining time of the part, and raises `Stopped` if the job was stopped.
        """
        self.check()
        began = self._clock()
        if self._report is not None:
            self._report(start, what)

        def done(units: float, total: float) -> None:
            self.check()
            share = min(1.0, units / total) if total > 0 else 0.0
            if self._report is not None and share > 0:
                left = (self._clock() - began) * (1 - share) / share
                self._report(start + (end - start) * share, f"{what}, about {left:.0f} s left")

        return done


class Jobs:
    """The running jobs, grouped by the pages that requested them; safe to use from several threads."""

    def __init__(self) -> None:
        self._running: dict[str, dict[Job, str]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(map(len, self._running.values()))

    @contextmanager
    def run(self, page: str, report: Report | None = None, *, part: str = "") -> Iterator[Job]:
        """A job for as long as the block runs.

        Args:
            page: name of the page that asked for it.
            report: see `Job`.
            part: of the page that asked for it, so that one part can stop its jobs alone.
        """
        job = Job(report)
        with self._lock:
            self._running.setdefault(page, {})[job] = part
        try:
            yield job
        finally:
            with self._lock:
                del self._running[page][job]
                if not self._running[page]:
                    del self._running[page]

    def stop(self, page: str, *, part: str | None = None) -> int:
        """Stops the jobs of a page, or of one part of it; returns how many there were."""
        with self._lock:
            jobs = [job for job, its in self._running.get(page, {}).items() if part is None or its == part]
        for job in jobs:
            job.stop()
        return len(jobs)

    def stop_all(self) -> None:
        """Stops the jobs of all pages, for example when the server ends."""
        for page in list(self._running):
            self.stop(page)
