"""The content of a file or a folder of frames: a hash, and a stamp that shows cheaply that it has not changed."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from kinema.data.reading.progress import beat

_CHUNK = 2**22  # bytes
# A file that is written twice within the resolution of its times has the same stamp for two contents. The coarsest
# common file system has a resolution of 2 s; more recent times prove nothing.
_SETTLED = 3.0  # seconds


@dataclass(frozen=True)
class Content:
    """The content of a path at one moment.

    Attributes:
        digest: SHA-256 of the bytes of a file, or of the names and bytes of the files in a folder, as hex.
        stamp: stays equal while the content is unchanged; None if the times of the file are too recent to tell.
    """

    digest: str
    stamp: str | None


def content_of(path: str | Path) -> Content:
    """Reads and hashes a file or a folder of frames.

    Raises:
        OSError: it does not exist, or cannot be read.
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
    """Returns size, times and inode of a file, or a hash of those of the files in a folder; None if too recent.

    The times include that of the last change of the entry (ctime), which no program can set back.

    Raises:
        OSError: it does not exist, or cannot be reached.
        ValueError: no file can have this name.
    """
    text, newest = state_of(path)
    return text if time.time_ns() - newest > _SETTLED * 1e9 else None


def state_of(path: str | Path) -> tuple[str, int]:
    """Returns the stamp, however recent, and its newest time in nanoseconds. Raises the same errors as `stamp_of`."""
    found = os.stat(path)  # noqa: PTH116 - Path would normalise names such as "a//b"
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
            beat()  # a large file on a slow disk must not count as a hang
            hashed.update(part)
    return hashed
