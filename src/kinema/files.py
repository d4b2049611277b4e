"""Replaces files in one step (a file is never half written), and locks folders so that one process writes at a time."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from kinema.errors import KinemaError, RunError, UnreadableVideo

LOCK = ".lock"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # error numbers of a full disk
_TURNS: dict[str, threading.Lock] = {}  # file locks do not exclude threads of the same process
_TURNS_LOCK = threading.Lock()
_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR)
# The system's own messages do not tell the user how to fix the problem.
_ADVICE = {
    errno.EACCES: "give this user permission for it and for the folders above it",
    errno.EPERM: "give this user permission for it and for the folders above it",
    errno.ENAMETOOLONG: "shorten its name; most file systems allow 255 bytes",
    errno.EIO: "check the disk or the network connection",
    errno.ESTALE: "mount the network disk again",
    errno.ELOOP: "correct the symbolic links, which form a loop",
}
_STREAMS = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "udp", "tcp", "mms")
_CAUGHT_IN = "Original Traceback"  # PyTorch's loader embeds the error of a worker process in the text of a new error


def reason(error: OSError | ValueError) -> str:
    """Returns why the system rejected a file: never empty, and without the file's name.

    Args:
        error: an error raised by a call to the file system. A `ValueError` means a name that no file can have, with a
            NUL byte or with characters that cannot be encoded.
    """
    if not isinstance(error, OSError):
        return f"no file can have this name ({error}): correct it"
    said = error.strerror or (os.strerror(error.errno) if error.errno else "")
    if error.errno in _ADVICE:
        return f"{said}: {_ADVICE[error.errno]}"
    if said:
        return str(said)
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def describe(error: OSError, task: str) -> str:
    """Describes a system error in one sentence: the file if it is known, else the task, and the reason.

    Args:
        error: the error that was raised.
        task: what the program was doing, such as `kinema train`.
    """
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else task
    text = f"{name}: {reason(error)}"
    return text if error.errno is None or _CAUGHT_IN in str(error) else f"{text} (errno {error.errno})"


@contextmanager
def on_behalf_of(video: str | Path) -> Iterator[None]:
    """Turns a system error raised while one video is read into `UnreadableVideo`, so that it costs only that video.

    Args:
        video: the file or the folder of frames.

    Raises:
        UnreadableVideo: the system reported an error (permissions, a failing disk), or no file can have this name.
        MemoryError: there was not enough memory; the video need not be the cause.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError from error
        raise UnreadableVideo(video, reason(error)) from error
    except ValueError as error:
        if isinstance(error, KinemaError) or not _impossible(str(video)):
            raise
        raise UnreadableVideo(video, reason(error)) from error


def _impossible(path: str) -> bool:
    try:
        return b"\0" in os.fsencode(path)
    except UnicodeEncodeError:
        return True


def look_up(path: str | Path) -> os.stat_result | None:
    """Returns the file status of a path, or None if nothing exists there.

    `Path.exists` and `Path.is_dir` cannot replace it: depending on the version of Python, they raise or return False
    for a file that exists but cannot be reached.

    Raises:
        OSError: the path cannot be reached (permissions, a name that is too long, a failing disk).
        ValueError: no file can have this name.
    """
    try:
        return os.stat(path)  # noqa: PTH116 - Path would normalise "a//b"
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return None
        raise


def reach(path: str | Path) -> os.stat_result | None:
    """Same as `look_up`, for the path of a whole data set or result that the user gave.

    Raises:
        KinemaError: the path cannot be reached; the message gives the reason.
    """
    try:
        return look_up(path)
    except (OSError, ValueError) as error:
        raise KinemaError(f"{path}: {reason(error)}") from error


def is_folder(path: str | Path) -> bool:
    """True if the folder exists. Also False if the path cannot be reached: opening it later reports the reason."""
    try:
        found = look_up(path)
    except (OSError, ValueError):
        return False
    return found is not None and stat.S_ISDIR(found.st_mode)


def is_stream(text: str) -> bool:
    """True if a text is the address of a live stream, which is not a file."""
    return text.partition("://")[0].lower() in _STREAMS and "://" in text


def local_path(text: str) -> str:
    """Returns the path of a file or folder that the user gave; `file:///a%20b.mp4` becomes `/a b.mp4`.

    Raises:
        KinemaError: the address of a stream or of a file on another machine, which Kinema does not read.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", text)  # two letters or more: `C://` is a drive
    if scheme is None:
        return text
    kind = scheme[1].lower()
    if kind == "file":
        return unquote(urlsplit(text).path)
    if kind in _STREAMS:
        what = "is the address of a stream, but Kinema reads files here: record it to"
    else:
        what = "is an address, but Kinema reads files on this machine: download it to"
    raise KinemaError(f"{text} {what} a file and give its path")


def cache_folder() -> Path:
    """Returns the folder for what can be made or fetched again: `$KINEMA_CACHE`, else `kinema` in the user's cache."""
    if named := os.environ.get("KINEMA_CACHE"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kinema"


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` with a temporary file beside `path`, then renames that file to `path` in one step.

    Raises:
        RunError: the file cannot be written (disk full, no permission); an existing file at `path` is unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise _unwritable(path, error) from error
    os.close(handle)
    part = Path(name)
    try:
        write(part)
        with part.open("r+b") as file:  # Windows flushes only files that are open for writing
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> RunError:
    return RunError(
        f"{path}: cannot be written ({error.strerror or reason(error)}); free space or choose another folder"
    )


def require_readable(path: Path) -> None:
    """Raises Python's own `OSError` if a file cannot be opened, before a library raises a less clear error."""
    with path.open("rb"):
        pass


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Locks a folder against other processes that call this, until the block or the process ends, even by `kill -9`.

    The folder is created if it is missing, and an empty file `.lock` stays in it. If the system or the file system has
    no locks, no process is kept out.


    Raises:
        KinemaError: another process holds the lock.
        RunError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a")
    except OSError as error:
        raise _unwritable(folder, error) from error
    with file:
        if not _lock(file):
            raise KinemaError(f"{folder}: another process is writing into it; wait for it, or give another --out")
        yield


@contextmanager
def in_turn(path: Path, *, patience: float = 20.0) -> Iterator[None]:
    """Lets threads and processes change the same file one after another, so that no change is lost.

    An empty file `.NAME.lock` stays beside it. If the system or the file system has no locks, this excludes only
    threads of the same process.

    Args:
        path: the file; its folder is created if it is missing.
        patience: seconds to wait for other writers.

    Raises:
        KinemaError: others were writing for longer than `patience`.
        RunError: the folder cannot be written to.
    """
    busy = KinemaError(
        f"{path}: another program has been writing to it for {patience:g} s; close that program and try again"
    )
    until = time.monotonic() + patience
    with _TURNS_LOCK:
        turn = _TURNS.setdefault(os.path.abspath(path), threading.Lock())  # noqa: PTH100 - resolve() may raise
    if not turn.acquire(timeout=patience):
        raise busy
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = (path.parent / f".{path.name}.lock").open("a")
        except OSError as error:
            raise _unwritable(path, error) from error
        with file:
            while not _lock(file):
                if time.monotonic() > until:
                    raise busy
                time.sleep(0.01)
            yield
    finally:
        turn.release()


def _lock(file: IO[str]) -> bool:
    """Locks an open file for this process; also True if it cannot be locked, False if another process has the lock."""
    if sys.platform != "win32":
        import fcntl

        try:
            # Not flock: reader processes would keep such a lock for seconds after a killed parent.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:
            pass
    return True


def clear_parts(folder: Path) -> None:
    """Removes temporary files of killed processes that were in `replace_file`; call it while the folder is `held`."""
    for part in folder.glob(".*.part"):
        with suppress(OSError):
            part.unlink()
