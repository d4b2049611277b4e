"""Folders of visitors: each is accessible only with a secret, and is removed soon after its session ends."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinema.errors import KinemaError

_IDLE = 4 * 3600.0  # seconds after which an idle session ends, even if its pages were never reported as closed


@dataclass
class Session:
    """The data of one visitor on the server.

    Attributes:
        folder: folder of its files.
        pages: open pages of this visitor.
        seen: time of the last use, in seconds of the clock.
        ended: time at which its last page was closed; None while a page is open.
        names: stored name -> name for the visitor.
        held: objects that the server keeps in memory for this visitor, by name; they are dropped with the session.
    """

    folder: Path
    seen: float
    pages: set[str] = field(default_factory=set)
    ended: float | None = None
    names: dict[str, str] = field(default_factory=dict)
    held: dict[str, Any] = field(default_factory=dict)

    def place(self, suffix: str, shown: str) -> Path:
        """Returns the path of a new file. Its name cannot be guessed and contains nothing from the visitor's name.

        Args:
            suffix: suffix of the file, such as `.mp4`.
            shown: name under which the visitor may download it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{secrets.token_hex(8)}{suffix}"
        self.names[file.name] = shown
        return file


class Sessions:
    """All sessions of a server; safe to use from several threads.

    Args:
        root: folder used only by this server; `close` removes it.
        keep: seconds for which files are kept after the last page of a session is closed.
        clock: returns seconds; tests replace it.
    """

    def __init__(self, root: Path, *, keep: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._root, self._keep, self._clock = root, keep, clock
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    def new(self) -> str:
        """Begins a session and returns its secret, 256 random bits."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            # A session without an open page, such as that of a crawler, ends as if its page had been closed.
            now = self._clock()
            self._sessions[secret] = Session(self._root / secrets.token_hex(16), now, ended=now)
        return secret

    def find(self, secret: str | None) -> Session:
        """Returns the session of a secret.

        Raises:
            KinemaError: there is no such session, or it has ended.
        """
        with self._lock:
            found = self._sessions.get(secret or "")
            if found is None:
                raise KinemaError("the session has ended: load the page again")
            found.seen = self._clock()
            return found

    def enter(self, secret: str | None, page: str) -> None:
        """Records that a page of the session is open; pages are identified by name."""
        session = self.find(secret)
        with self._lock:
            session.pages.add(page)
            session.ended = None

    def leave(self, page: str) -> None:
        """Records that a page was closed."""
        with self._lock:
            for session in self._sessions.values():
                if page in session.pages:
                    session.pages.discard(page)
                    session.ended = None if session.pages else self._clock()

    def file(self, secret: str | None, name: str) -> tuple[Path, str]:
        """Returns a file of a session, and its name for the visitor.

        Args:
            secret: secret of the session.
            name: name of the file, as given by `Session.place`.

        Raises:
            KinemaError: the session has ended, or has no such file; the error does not reveal files of other sessions.
        """
        session = self.find(secret)
        file = session.folder / name
        if name not in session.names or not file.is_file() or file.is_symlink():
            raise KinemaError(f"{name!r}: this session has no such file")
        return file, session.names[name]

    def sweep(self) -> int:
        """Removes sessions that ended more than `keep` seconds ago or have been idle for long; returns their number."""
        now = self._clock()
        with self._lock:
            gone = [
                secret for secret, session in self._sessions.items()
                if now - session.seen > _IDLE or (session.ended is not None and now - session.ended > self._keep)
            ]  # fmt: skip
            removed = [self._sessions.pop(secret) for secret in gone]
        for session in removed:
            shutil.rmtree(session.folder, ignore_errors=True)
        return len(removed)

    def close(self) -> None:
        """Ends all sessions and removes all files."""
        with self._lock:
            self._sessions.clear()
        shutil.rmtree(self._root, ignore_errors=True)
