"""Errors that a user can cause. All derive from `KinemaError`; each message is one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from pathlib import Path

OFFERED, LISTED = 3, 12  # names that an error suggests; names that it lists if no name is similar


class KinemaError(ValueError):
    """Bad input. The message is one sentence that names the file or key and says how to fix it."""

    exit_status = 2


class RunError(KinemaError):
    """A run that started well and then failed (loss not finite, disk full, coverage below the requested value)."""

    exit_status = 1


class KinemaWarning(UserWarning):
    """Something that the user should know although the work continues; one sentence, as for an error."""


class UnreadableVideo(KinemaError):
    """A video from which no frame can be read.

    Attributes:
        path: the file or frame folder.
        reason: why it is unreadable, without the path.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{path}: {reason}")

    def __reduce__(self) -> tuple[type[UnreadableVideo], tuple[str, str]]:
        return type(self), (self.path, self.reason)  # must survive pickling by a loader worker


def unknown(kind: str, name: str, known: Iterable[str], *, list_all: bool = False) -> KinemaError:
    """Builds the error for an unknown name: it suggests similar names, or lists some names that exist.

    Args:
        kind: the kind of thing that the name stands for, such as `model`.
        name: the name that was given.
        known: the names that exist.
        list_all: list every existing name, even if there are suggestions.
    """
    known = sorted(known)
    listed = ", ".join(known if list_all else known[:LISTED])
    if len(known) > LISTED and not list_all:
        listed += f", … ({len(known)} in all)"
    choose = f"choose from {listed}" if known else "there are none to choose from"
    if near := near_names(name, known):
        offer = f"did you mean {' or '.join(map(repr, near))}?" + (f" ({choose})" if list_all else "")
        return KinemaError(f"unknown {kind} {name!r}: {offer}")
    return KinemaError(f"unknown {kind} {name!r}; {choose}")


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Returns up to three names that the user may have meant, most similar first; empty if no name is similar enough.

    Args:
        name: the name that was given.
        known: the names that exist.
    """
    near = sorted(((_likeness(name, other), other) for other in known if _near(name, other)), reverse=True)
    # If the best match differs by a single typing error, a long name that merely contains the word is no suggestion.
    return [other for likeness, other in near[:OFFERED] if likeness > near[0][0] - 0.15 or near[0][0] < 0.85]


def nearest_first(name: str, known: Iterable[str]) -> list[str]:
    """Sorts the known names by similarity to `name`, most similar first; ties keep their order."""
    return sorted(known, key=lambda other: -_likeness(name, other))


def _near(name: str, other: str) -> bool:
    """True for a typing error, another ending or a missing part; false for labels of other actions."""
    likeness = _likeness(name, other)
    short, long = sorted((name.casefold(), other.casefold()), key=len)
    if len(short) < 3:
        return likeness >= 0.75
    part = re.search(rf"(?<![^\W_]){re.escape(short)}", long) is not None  # from the beginning of a word
    return likeness >= (0.6 if short[:3] == long[:3] else 0.7) or part


def _likeness(name: str, other: str) -> float:
    return SequenceMatcher(None, other.casefold(), name.casefold()).ratio()
