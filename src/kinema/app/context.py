"""What every tab of the page needs: the recognizers, the visitors' sessions, and how a job fails."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinema.app.examples import Examples
from kinema.app.markup import render
from kinema.errors import KinemaError
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
    """

    recognizers: Mapping[str, Recognizer]
    sessions: Sessions
    limits: UploadLimits
    incoming: Path
    folders: Mapping[str, str]
    examples: Examples
    to_label: Mapping[str, str] = field(default_factory=dict)

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

    def take(self, sent: str, request: Any) -> Upload:
        """Moves what a visitor has sent into the visitor's session.

        Args:
            sent: where the server stored it, as the page says.
            request: `gradio.Request`.

        Raises:
            KinemaError: the session has ended, or the file was not sent through this page.
            UnreadableVideo: it is refused, or nothing of it can be decoded.
        """
        session = self.session(request)
        if not Path(sent).resolve().is_relative_to(self.incoming.resolve()):
            raise KinemaError("video: it was not sent through this page; send it again")
        return take(Path(sent), session, self.limits, name=Path(sent).name)

    def take_example(self, name: str, request: Any) -> Upload:
        """Puts a copy of an example into the visitor's session.

        Args:
            name: of the example.
            request: `gradio.Request`.

        Raises:
            KinemaError: there is none of that name, or the session has ended.
            UnreadableVideo: the example cannot be decoded, or is beyond the limits.
        """
        session, file = self.session(request), self.examples.file(name)
        copy = session.place(file.suffix, file.name)
        shutil.copyfile(file, copy)
        return take(copy, session, self.limits, name=f"{name.partition(':')[0]}{file.suffix}")


def timed(progress: Any, what: str, start: float = 0.0, end: float = 1.0) -> Callable[[int, int], None]:
    """Shows how far a job is and how long it will take.

    Args:
        progress: `gradio.Progress`.
        what: the job, as the visitor reads it.
        start: share of the bar at which the job begins, 0 to 1.
        end: share at which it ends.

    Returns:
        To be called with the units done and their total.
    """
    began = time.monotonic()

    def step(done: int, total: int) -> None:
        share = done / max(total, 1)
        left = (time.monotonic() - began) * (1 - share) / share if share else None
        shown = "" if left is None else f", about {left:.0f} s left"
        progress(start + (end - start) * share, desc=f"{what}{shown}")

    return step


def address(file: Path) -> str:
    """Where a visitor's browser finds a file of the session."""
    return f"{FILES}/{file.name}"


def guarded(work: Callable[[], Any], failed: Callable[[str], Any] = str) -> Any:
    """What a job gives; a sentence where it cannot be done, so that the page lives on.

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
