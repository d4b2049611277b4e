"""What a person did wrong, in one sentence: every error that a user can cause derives from `KinemaError`."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class KinemaError(ValueError):
    """Bad input. The message is one sentence that names the file or key and the mend."""

    exit_status = 2


class RunError(KinemaError):
    """A run that started well and failed (loss not finite, disk full, coverage below what was asked)."""

    exit_status = 1


class UnreadableVideo(KinemaError):
    """A video from which no frame can be had.

    Attributes:
        path: the file or frame folder.
        reason: why, without the path.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{path}: {reason}")

    def __reduce__(self) -> tuple[type[UnreadableVideo], tuple[str, str]]:
        return type(self), (self.path, self.reason)  # crosses the process border of a loader worker


def unknown(kind: str, name: str, known: Iterable[str]) -> KinemaError:
    """The error for a name that does not exist: offers the nearest known ones."""
    known = sorted(known)
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return KinemaError(f"unknown {kind} {name!r}: did you mean {' or '.join(map(repr, near))}?")
    listed = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    return KinemaError(f"unknown {kind} {name!r}: known are {listed}")
