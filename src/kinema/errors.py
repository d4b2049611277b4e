"""What a person did wrong, in one sentence: every error that a user can cause derives from `KinemaError`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from pathlib import Path

OFFERED, LISTED = 3, 12  # names that an error offers, or lists where none is near


class KinemaError(ValueError):
    """Bad input. The message is one sentence that names the file or key and says how to fix it."""

    exit_status = 2


class RunError(KinemaError):
    """A run that started well and failed (loss not finite, disk full, coverage below what was asked)."""

    exit_status = 1


class KinemaWarning(UserWarning):
    """Something that a person should know although the work goes on; one sentence, as for an error."""


class UnreadableVideo(KinemaError):
    """A video from which no frame can be read.

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


def unknown(kind: str, name: str, known: Iterable[str], *, list_all: bool = False) -> KinemaError:
    """The error for a name that does not exist: offers those that are really near, else lists some that exist.

    Args:
        kind: what the name is of, such as `model`.
        name: as it was given.
        known: the names that exist.
        list_all: list every name that exists, also beside an offer.
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
    """Up to three names that a person may have meant, the most alike first; none where none is really near.

    Args:
        name: as it was given.
        known: the names that exist.
    """
    near = sorted(((_likeness(name, other), other) for other in known if _near(name, other)), reverse=True)
    # Beside a slip of one letter a long name that merely holds the word is no offer.
    return [other for likeness, other in near[:OFFERED] if likeness > near[0][0] - 0.15 or near[0][0] < 0.85]


def nearest_first(name: str, known: Iterable[str]) -> list[str]:
    """Known names, those most like `name` first; names that are equally like it stay in their order."""
    return sorted(known, key=lambda other: -_likeness(name, other))


def _near(name: str, other: str) -> bool:
    """A slip of the keyboard, another ending, or a part that is left out; labels of other actions are none of these."""
    likeness = _likeness(name, other)
    short, long = sorted((name.casefold(), other.casefold()), key=len)
    if len(short) < 3:
        return likeness >= 0.75
    part = re.search(rf"(?<![^\W_]){re.escape(short)}", long) is not None  # from the beginning of a word
    return likeness >= (0.6 if short[:3] == long[:3] else 0.7) or part


def _likeness(name: str, other: str) -> float:
    return SequenceMatcher(None, other.casefold(), name.casefold()).ratio()
