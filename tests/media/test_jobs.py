"""Jobs that are stopped: what they report, and that nothing of them stays."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
from tiny import moving_square, write_video

from kinema.media.conversion import convert
from kinema.media.jobs import Job, Jobs, Stopped
from kinema.media.limits import UploadLimits


def test_a_job_says_how_long_its_step_will_take() -> None:
    now, told = [0.0], []
    job = Job(lambda share, what: told.append((share, what)), clock=lambda: now[0])
    step = job.step("reading", 0.5, 1.0)
    now[0] = 10.0
    step(0, 0)  # the total is not known yet
    step(1, 4)
    step(9, 4)
    assert told == [(0.5, "reading"), (0.625, "reading, about 30 s left"), (1.0, "reading, about 0 s left")]
    job.stop()
    with pytest.raises(Stopped):
        step(1, 4)
    with pytest.raises(Stopped):
        job.step("writing")


def test_a_page_stops_its_own_jobs_only() -> None:
    jobs = Jobs()
    with jobs.run("one") as first, jobs.run("two") as second:
        assert len(jobs) == 2 and jobs.stop("one") == 1 and jobs.stop("absent") == 0
        second.check()
        with pytest.raises(Stopped):
            first.check()
        jobs.stop_all()
        with pytest.raises(Stopped):
            second.check()
    assert len(jobs) == 0 and jobs.stop("one") == 0


def test_a_conversion_ends_soon_after_it_is_stopped(tmp_path: Path) -> None:
    film = moving_square(np.random.default_rng(0), True, frames=60, size=192)
    video = write_video(tmp_path / "long.mp4", np.concatenate([film] * 40))
    stopped, shares = [0.0], []

    def progress(done: float, total: float) -> None:
        if total and done > 0:
            shares.append(done / total)
            stopped[0] = time.monotonic()
            raise Stopped("stopped")

    (tmp_path / "out").mkdir()
    with pytest.raises(Stopped):
        convert(video, tmp_path / "out" / "a.mp4", UploadLimits(), name="a", progress=progress)
    assert time.monotonic() - stopped[0] < 2 and 0 < shares[0] < 1
    assert not list((tmp_path / "out").iterdir()) and not multiprocessing.active_children()
