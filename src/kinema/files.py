"""Files that are either the old one or the new one, never half of one, and folders that one process writes into."""

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
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a full disk says
_TURNS: dict[str, threading.Lock] = {}  # locks of files do not keep threads of one process apart
_TURNS_LOCK = threading.Lock()
_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR)
# The system's own words do not tell a person what to do.
_ADVICE = {
    errno.EACCES: "give this user the rights to it and to the folders above it",
    errno.EPERM: "give this user the rights to it and to the folders above it",
    errno.ENAMETOOLONG: "rename it, a file system usually allows 255 bytes for a name",
    errno.EIO: "check the disk or the network connection",
    errno.ESTALE: "mount the network disk again",
    errno.ELOOP: "correct the links, which lead in a circle",
}
_STREAMS = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "udp", "tcp", "mms")
_CAUGHT_IN = "Original Traceback"  # a loader of PyTorch packs the error of a worker process into the text of a new one


def reason(error: OSError | ValueError) -> str:
    """Why the system refused a file, without the name of the file, never empty.

    Args:
        error: what a call to the file system raised; a `ValueError` is a name that no file can have, with a NUL byte
            or with characters that cannot be encoded.
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
    """One sentence about an error of the system: the file if it is known, else what was being done, and the reason.

    Args:
        error: what was raised.
        task: what was being done, such as `kinema train`.
    """
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else task
    text = f"{name}: {reason(error)}"
    return text if error.errno is None or _CAUGHT_IN in str(error) else f"{text} (errno {error.errno})"


@contextmanager
def on_behalf_of(video: str | Path) -> Iterator[None]:
    """Turns what the system says while one video is looked at into `UnreadableVideo`, so that it costs that video only.

    Args:
        video: the file or the folder of frames.

    Raises:
        UnreadableVideo: the system refused (permissions, a disk that fails), or no file can have this name.
        MemoryError: there was not enough memory, for which the video need not be the cause.
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
    """What the file system knows of a path, or None where nothing is there.

    `Path.exists` and `Path.is_dir` are no substitute: depending on the version of Python they raise or answer False
    where a file is there and cannot be reached.

    Raises:
        OSError: the path cannot be reached (permissions, a name that is too long, a disk that fails).
        ValueError: no file can have this name.
    """
    try:
        return os.stat(path)  # noqa: PTH116 - Path("a ") and Path("a//b") would be other texts
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return None
        raise


def reach(path: str | Path) -> os.stat_result | None:
    """As `look_up`, for a path that a person gives as a whole data set or result.

    Raises:
        KinemaError: the path cannot be reached, with the reason.
    """
    try:
        return look_up(path)
    except (OSError, ValueError) as error:
        raise KinemaError(f"{path}: {reason(error)}") from error


def is_folder(path: str | Path) -> bool:
    """Whether a folder is there; False also where the path cannot be reached: whoever opens it learns why."""
    try:
        found = look_up(path)
    except (OSError, ValueError):
        return False
    return found is not None and stat.S_ISDIR(found.st_mode)


def is_stream(text: str) -> bool:
    """Whether a text is the address of a live stream, which is no file anywhere."""
    return text.partition("://")[0].lower() in _STREAMS and "://" in text


def local_path(text: str) -> str:
    """The path in what a person gives as a file or folder; `file:///a%20b.mp4` is `/a b.mp4`.

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
        what = "is the address of a stream, and Kinema reads files (streams will come with kinema stream): record it to"
    else:
        what = "is an address, and Kinema reads files on this machine: download it to"
    raise KinemaError(f"{text} {what} a file and give its path")


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
        raise _unwritable(path, error) from error
    os.close(handle)
    part = Path(name)
    try:
        write(part)
        with part.open("r+b") as file:  # Windows flushes only what may be written
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
        raise _unwritable(folder, error) from error
    with file:
        if not _lock(file):
            raise KinemaError(f"{folder}: another process is writing into it; wait for its end, or give another --out")
        yield


@contextmanager
def in_turn(path: Path, *, patience: float = 20.0) -> Iterator[None]:
    """Lets threads and processes that change the same file do so one after another, so that none loses the other's.

    An empty file `.NAME.lock` stays beside it. Where the system or the file system has no locks, only the threads of
    one process take turns.

    Args:
        path: the file; its folder is made where there is none.
        patience: seconds to wait for the others.

    Raises:
        KinemaError: others were writing for longer than that.
        RunError: the folder cannot be written.
    """
    busy = KinemaError(
        f"{path}: another program has been writing it for {patience:g} s; close that program and try again"
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
    """Whether an open file is now locked for this process, or cannot be; False where another process has it."""
    if sys.platform != "win32":
        import fcntl

        try:
            # Not flock: that lock would live on in reader processes, which outlast a killed parent by seconds.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:
            pass
    return True


def clear_parts(folder: Path) -> None:
    """Removes what processes that were killed had begun to write with `replace_file`; for who has it `held`."""
    for part in folder.glob(".*.part"):
        with suppress(OSError):
            part.unlink()
