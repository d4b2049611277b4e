"""What every tab of the page needs: the recognizers, the visitors' sessions, and how a job fails."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinema.app.examples import Examples
from kinema.app.markup import render
from kinema.data.video import probe
from kinema.errors import KinemaError
from kinema.media.jobs import Job, Jobs
from kinema.media.limits import UploadLimits
from kinema.media.sessions import Session, Sessions
from kinema.media.uploads import Upload, take
from kinema.recognizer import Recognizer

COOKIE = "kinema_session"
FILES = "/session/files"  # address of the files of a session
# Keywords of every event that runs a network: one at a time, since one fills the processor.
NETWORK: dict[str, Any] = {"concurrency_id": "network", "concurrency_limit": 1}


@dataclass(frozen=True)
class Context:
    """What the tabs share.

    Attributes:
        recognizers: by the names to show, at least one.
        sessions: of the visitors.
        limits: of uploads.
        incoming: folder in which the server stores uploads; no other file is taken.
        folders: data sets that may be shown, by the names to show.
        examples: videos that a visitor may choose instead of sending one.
        to_label: folders of videos that may be labelled, by the names to show.
        jobs: what runs for the open pages, and can be stopped.
        ahead: converts the next video of the tab Label while a visitor looks at the one before.
        about: a sentence on what the recognizers know, for the page; empty where there is nothing to say.
    """

    recognizers: Mapping[str, Recognizer]
    sessions: Sessions
    limits: UploadLimits
    incoming: Path
    folders: Mapping[str, str]
    examples: Examples
    to_label: Mapping[str, str] = field(default_factory=dict)
    jobs: Jobs = field(default_factory=Jobs)
    ahead: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "kinema-ahead"))
    about: str = ""

    @property
    def names(self) -> list[str]:
        """The names of the recognizers."""
        return list(self.recognizers)

    @property
    def labels(self) -> list[str]:
        """The labels of all recognizers, sorted."""
        return sorted({label for recognizer in self.recognizers.values() for label in recognizer.labels})

    def recognizer(self, name: str) -> Recognizer:
        """The recognizer of a name that the page has sent.

        Raises:
            KinemaError: there is none of that name.
        """
        if name not in self.recognizers:
            raise KinemaError(f"recognizer {name!r}: choose from {', '.join(self.names)}")
        return self.recognizers[name]

    def session(self, request: Any) -> Session:
        """The session of the visitor who sent a request.

        Args:
            request: `gradio.Request`.

        Raises:
            KinemaError: it has ended.
        """
        return self.sessions.find(request.cookies.get(COOKIE))

    def job(self, request: Any, progress: Any, part: str) -> AbstractContextManager[Job]:
        """A job of the page that has sent a request, which shows how far it is.

        Args:
            request: `gradio.Request`.
            progress: `gradio.Progress`.
            part: of the page, whose button stops the job; see `kinema.app.stopping.add_stop`.
        """
        return self.jobs.run(request.session_hash or "", lambda share, what: progress(share, desc=what), part=part)

    def take(self, sent: str, request: Any, progress: Callable[[float, float], None] | None = None) -> Upload:
        """Moves what a visitor has sent into the visitor's session.

        Args:
            sent: where the server stored it, as the page says.
            request: `gradio.Request`.
            progress: see `kinema.media.uploads.take`.

        Raises:
            KinemaError: the session has ended, or the file was not sent through this page.
            UnreadableVideo: it is refused, or nothing of it can be decoded.
        """
        session = self.session(request)
        if not Path(sent).resolve().is_relative_to(self.incoming.resolve()):
            raise KinemaError("video: it was not sent through this page; send it again")
        return take(Path(sent), session, self.limits, name=Path(sent).name, progress=progress)

    def take_example(self, name: str, request: Any, progress: Callable[[float, float], None] | None = None) -> Upload:
        """Puts a copy of an example into the visitor's session.

        Args:
            name: of the example.
            request: `gradio.Request`.
            progress: see `kinema.media.uploads.take`.

        Raises:
            KinemaError: there is none of that name, or the session has ended.
            UnreadableVideo: the example cannot be decoded, or is beyond the limits.
        """
        session, file = self.session(request), self.examples.file(name)
        copy = session.place(file.suffix, file.name)
        shutil.copyfile(file, copy)
        shown = f"{name.partition(':')[0]}{file.suffix}"
        return take(copy, session, self.limits, name=shown, progress=progress)


def address(file: Path) -> str:
    """Where a visitor's browser finds a file of the session."""
    return f"{FILES}/{file.name}"


def shown(file: Path) -> dict[str, Any]:
    """What a template needs to show a video of the session: its address, and width and height in pixels."""
    facts = probe(file)
    return {"address": address(file), "width": facts.width, "height": facts.height}


def guarded(work: Callable[[], Any], failed: Callable[[str], Any] = str) -> Any:
    """The result of a job, or an error message if it fails, so that the page keeps working.

    Args:
        work: the job.
        failed: makes what the event returns from the sentence as HTML.
    """
    try:
        return work()
    except KinemaError as error:
        return failed(render("sentence", text=str(error)))
    except Exception:
        traceback.print_exc()  # for the person who runs the server: this is a fault of ours
        return failed(render("sentence", text="This job failed unexpectedly; the server's log tells why."))
