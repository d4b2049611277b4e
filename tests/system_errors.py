"""Errors of the file system for one path, as a network disk, rights or a long name cause them."""

from __future__ import annotations

import builtins
import errno
import io
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

REFUSALS = {"EACCES": errno.EACCES, "EIO": errno.EIO, "ESTALE": errno.ESTALE, "ENAMETOOLONG": errno.ENAMETOOLONG}


def refuse(patch: pytest.MonkeyPatch, *paths: Path, number: int, looks_fine: bool = False) -> None:
    """Lets every call of Python and of the decoders on these paths, and below them, fail with an error number.

    Args:
        patch: undoes it.
        paths: files or folders.
        number: such as `errno.EIO`.
        looks_fine: `stat` still answers, as it does for a file that may not be read, or from a cache.
    """
    marked = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - resolve() calls what is replaced here

    def guarded(plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any = ".", *args: Any, **options: Any) -> Any:
            if isinstance(path, str | bytes | os.PathLike):
                name = os.path.abspath(os.fsdecode(path).removeprefix("file:"))  # noqa: PTH100
                if any(name == m or name.startswith(m + os.sep) for m in marked):
                    raise OSError(number, os.strerror(number), os.fsdecode(path))
            return plain(path, *args, **options)

        return call

    stats = () if looks_fine else ("stat", "lstat")
    for name in ("open", "scandir", "listdir", *stats):
        patch.setattr(os, name, guarded(getattr(os, name)))
    for module in (builtins, io):
        patch.setattr(module, "open", guarded(module.open))
    patch.setattr(av, "open", guarded(av.open))
    patch.setattr(Image, "open", guarded(Image.open))


def as_nobody(command: list[str], **options: Any) -> list[str]:
    """A command of another user than root, who may not read what root keeps for itself; skips where that cannot be."""
    if sys.platform == "win32" or os.geteuid() != 0 or not os.path.exists("/usr/bin/setpriv"):  # noqa: PTH110
        pytest.skip("needs root and setpriv")
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
