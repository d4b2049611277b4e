"""Folders of visitors: each is reached with a secret only, and is gone soon after its session ends."""

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

_IDLE = 4 * 3600.0  # seconds after which a session ends of which no page has said goodbye


@dataclass
class Session:
    """What one visitor has on the server.

    Attributes:
        folder: of its files.
        pages: open pages of this visitor.
        seen: when it was last used, seconds of the clock.
        ended: when its last page was closed; None while one is open.
        names: stored name -> name for the visitor.
        held: what a server keeps in memory for this visitor, by its name; it is dropped with the session.
    """

    folder: Path
    seen: float
    pages: set[str] = field(default_factory=set)
    ended: float | None = None
    names: dict[str, str] = field(default_factory=dict)
    held: dict[str, Any] = field(default_factory=dict)

    def place(self, suffix: str, shown: str) -> Path:
        """A path for a new file, whose name nobody can guess and which takes nothing from the visitor's.

        Args:
            suffix: such as `.mp4`.
            shown: name under which the visitor may download it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{secrets.token_hex(8)}{suffix}"
        self.names[file.name] = shown
        return file


class Sessions:
    """All sessions of a server; safe to use from several threads.

    Args:
        root: folder that belongs to this server alone; `close` removes it.
        keep: seconds for which files stay after the last page of a session is closed.
        clock: gives seconds; another one in tests.
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
            # A first request without a page that opens, as of a crawler, ends like a page that was closed.
            now = self._clock()
            self._sessions[secret] = Session(self._root / secrets.token_hex(16), now, ended=now)
        return secret

    def find(self, secret: str | None) -> Session:
        """The session of a secret.

        Raises:
            KinemaError: there is none, or it has ended.
        """
        with self._lock:
            found = self._sessions.get(secret or "")
            if found is None:
                raise KinemaError("the session has ended: load the page again")
            found.seen = self._clock()
            return found

    def enter(self, secret: str | None, page: str) -> None:
        """Notes that a page of the session is open; the pages are told apart by their name."""
        session = self.find(secret)
        with self._lock:
            session.pages.add(page)
            session.ended = None

    def leave(self, page: str) -> None:
        """Notes that a page was closed."""
        with self._lock:
            for session in self._sessions.values():
                if page in session.pages:
                    session.pages.discard(page)
                    session.ended = None if session.pages else self._clock()

    def file(self, secret: str | None, name: str) -> tuple[Path, str]:
        """A file of a session, and its name for the visitor.

        Args:
            secret: of the session.
            name: of the file, one that `Session.place` has given.

        Raises:
            KinemaError: the session has ended, or has no such file; which files others have does not show.
        """
        session = self.find(secret)
        file = session.folder / name
        if name not in session.names or not file.is_file() or file.is_symlink():
            raise KinemaError(f"{name!r}: this session has no such file")
        return file, session.names[name]

    def sweep(self) -> int:
        """Removes the sessions that ended longer than `keep` ago and those long idle; returns how many."""
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
