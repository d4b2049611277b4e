"""Jobs of the tabs Why and Compare that are stopped, without a browser."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import moving_square, tiny_data, write_video

from kinema import ClipSpec, create_model
from kinema.data.manifest import read_manifest
from kinema.media.jobs import Job, Jobs, Stopped
from kinema.media.limits import UploadLimits
from kinema.media.sessions import Session, Sessions
from kinema.media.uploads import Upload, take
from kinema.recognizer import Recognizer

pytest.importorskip("gradio")

from kinema.app.compare import compared_on_data, compared_on_video
from kinema.app.stopping import stoppable
from kinema.app.why import why

Both = tuple[tuple[str, Recognizer], tuple[str, Recognizer]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_data(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def both(data: str) -> Both:
    def made(name: str) -> tuple[str, Recognizer]:
        model = create_model("tsn_r18", num_classes=2, frames=4, width=0.125)
        return name, Recognizer(model.eval(), read_manifest(data).labels, ClipSpec(frames=4, short_side=32, crop=32))

    return made("one"), made("two")


@pytest.fixture
def session(tmp_path: Path) -> Session:
    sessions = Sessions(tmp_path / "sessions")
    return sessions.find(sessions.new())


@pytest.fixture
def upload(session: Session, tmp_path: Path) -> Upload:
    video = write_video(tmp_path / "film.mp4", moving_square(np.random.default_rng(0), True, frames=12))
    return take(video, session, UploadLimits(), name="film.mp4")


def stopped_at(begins: str, work: Callable[[Job], Any]) -> list[str]:
    """Runs a job that is stopped as soon as it reports a text; gives all that it reported."""
    jobs, told = Jobs(), []

    def report(share: float, what: str) -> None:
        told.append(what)
        if what.startswith(begins):
            assert jobs.stop("page", part="another tab") == 0 and jobs.stop("page", part="this tab") >= 1

    with pytest.raises(Stopped), jobs.run("page", report, part="this tab") as job:
        work(job)
    assert len(jobs) == 0 and told[-1].startswith(begins)
    return told


ASKED: dict[str, Any] = {"names": ["one", "two"], "methods": ["cam"], "target": "top", "start": None, "end": None}


@pytest.mark.parametrize("begins", ["Step 1 of 2: explaining", "Step 2 of 2: writing the overlay"])
def test_why_ends_in_every_step_and_leaves_no_file(begins: str, both: Both, upload: Upload, session: Session) -> None:
    before = set(session.folder.iterdir())
    stopped_at(begins, lambda job: why(dict(both), upload, session, job=job, **ASKED))
    assert set(session.folder.iterdir()) == before


def test_why_says_how_far_it_is(both: Both, upload: Upload, session: Session) -> None:
    told: list[tuple[float, str]] = []
    file, facts = why(dict(both), upload, session, job=Job(lambda *said: told.append(said)), **ASKED)
    assert file.is_file() and len(facts) == 2
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    # Two explanations, then twelve frames, each step with a line of its own at its beginning.
    assert sum(what.startswith("Step 1") for _, what in told) == 3
    assert sum(what.startswith("Step 2") for _, what in told) == 13
    assert told[-1] == (1.0, "Step 2 of 2: writing the overlay, about 0 s left")


@pytest.mark.parametrize("begins", ["Step 1 of 2: recognising with one", "Step 2 of 2: recognising with two"])
def test_compare_on_a_video_ends_in_every_step(begins: str, both: Both, upload: Upload) -> None:
    told = stopped_at(begins, lambda job: compared_on_video(upload, *both, job))
    assert told[0].startswith("Step 1 of 2: recognising with one")


@pytest.mark.parametrize("begins", ["Step 1 of 2: testing one", "Step 2 of 2: testing two"])
def test_compare_on_data_ends_in_every_step(begins: str, both: Both, data: str, session: Session) -> None:
    stopped_at(begins, lambda job: compared_on_data("set", data, *both, session, job))
    assert not list(session.folder.glob("*"))


def test_a_pass_of_a_network_ends_at_its_next_layer_in_its_own_thread_only(both: Both) -> None:
    (_, recognizer), clip = both[0], torch.zeros(1, 3, 4, 32, 32)
    job, answers, hooks = Job(), [], lambda: sum(len(m._forward_pre_hooks) for m in recognizer.model.modules())
    free = hooks()
    with pytest.raises(Stopped), stoppable([recognizer], job):
        job.stop()
        other = threading.Thread(target=lambda: answers.append(recognizer.model(clip)))
        other.start()
        other.join()
        recognizer.model(clip)
    assert len(answers) == 1 and hooks() == free
    assert recognizer.model(clip).shape == (1, 2)
