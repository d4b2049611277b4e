"""Files that are either the old one or the new one, never half of one, and folders that one process writes into."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kinema.errors import KinemaError, RunError

LOCK = ".lock"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a full disk says


def cache_folder() -> Path:
    """Where Kinema keeps what it can make or fetch again: `$KINEMA_CACHE`, else `kinema` in the user's cache folder."""
    if named := os.environ.get("KINEMA_CACHE"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kinema"


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a temporary file beside `path`, then puts it in its place in one step.

    Raises:
        RunError: it cannot be written (disk full, no permission); what stood at `path` is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}); free space or choose another folder") from error
    os.close(handle)
    part = Path(name)
    try:
        write(part)
        with part.open("r+b") as file:  # Windows flushes only what may be written
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}); free space or choose another folder") from error
    finally:
        part.unlink(missing_ok=True)


def require_readable(path: Path) -> None:
    """Raises Python's own `OSError` where a file cannot be opened, before a library says something else of it."""
    with path.open("rb"):
        pass


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps other processes that ask for the same out of a folder, until this block or this process ends, `kill -9`
    included.

    The folder is made where there is none, and an empty file `.lock` stays in it. Where the system or the file system
    has no locks, nobody is kept out.

    Raises:
        KinemaError: another process holds it.
        RunError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a")
    except OSError as error:
        raise RunError(
            f"{folder}: cannot be written ({error.strerror}); free space or choose another folder"
        ) from error
    with file:
        if sys.platform != "win32":
            import fcntl

            try:
                # Not flock: that lock would live on in reader processes, which outlast a killed parent by seconds.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                raise KinemaError(
                    f"{folder}: another process is writing into it; wait for its end, or give another --out"
                ) from error
            except OSError:
                pass
        yield


def clear_parts(folder: Path) -> None:
    """Removes what processes that were killed had begun to write with `replace_file`; for who has it `held`."""
    for part in folder.glob(".*.part"):
        with suppress(OSError):
            part.unlink()
