"""What is in a file or a folder of frames, as a hash, and a stamp that tells cheaply that nothing has changed."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from kinema.data.reading.progress import beat

_CHUNK = 2**22  # bytes
# A file that is written twice within the resolution of its times has one stamp for two contents. The coarsest of the
# usual file systems keeps 2 s; times that are not older than this prove nothing.
_SETTLED = 3.0  # seconds


@dataclass(frozen=True)
class Content:
    """What a path held when it was looked at.

    Attributes:
        digest: SHA-256 of the bytes of a file, or of the names and bytes of the files in a folder, as hex.
        stamp: equal as long as the content is, or None where the times of the file are too young to tell.
    """

    digest: str
    stamp: str | None


def content_of(path: str | Path) -> Content:
    """Reads and hashes a file or a folder of frames.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: no file can have this name.
    """
    before = stamp_of(path)
    hashed = hashlib.sha256()
    if Path(path).is_dir():
        for entry in _entries(path):
            hashed.update(os.fsencode(entry.name) + b"\0")
            hashed.update(_digest(entry.path))
    else:
        hashed = _hashed(path)
    return Content(hashed.hexdigest(), before if before == stamp_of(path) else None)


def stamp_of(path: str | Path) -> str | None:
    """Size, times and number of a file, or a hash of those of the files in a folder; None where they are too young.

    The time of the last change of the entry (ctime) is among them, which no program can set back.

    Raises:
        OSError: it is not there, or cannot be reached.
        ValueError: no file can have this name.
    """
    text, newest = state_of(path)
    return text if time.time_ns() - newest > _SETTLED * 1e9 else None


def state_of(path: str | Path) -> tuple[str, int]:
    """What `stamp_of` compares, however young, and the newest of the times in it in nanoseconds. Raises as it does."""
    found = os.stat(path)  # noqa: PTH116 - Path("a ") and Path("a//b") would be other texts
    newest = max(found.st_mtime_ns, found.st_ctime_ns)
    text = _facts(found)
    if Path(path).is_dir():
        lines = [text]
        for entry in _entries(path):
            inside = entry.stat()
            newest = max(newest, inside.st_mtime_ns, inside.st_ctime_ns)
            lines.append(f"{entry.name!r} {_facts(inside)}")
        text = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return text, newest


def _facts(found: os.stat_result) -> str:
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_dev}-{found.st_ino}"


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if entry.is_file()), key=lambda entry: os.fsencode(entry.name))


def _digest(path: str) -> bytes:
    return _hashed(path).digest()


def _hashed(path: str | Path) -> hashlib._Hash:
    hashed = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - as for os.stat above
        while part := file.read(_CHUNK):
            beat()  # a large file on a slow disk is no hang
            hashed.update(part)
    return hashed
