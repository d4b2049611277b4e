"""Files that are either the old one or the new one, never half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from kinema.errors import RunError


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
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}); the file that was there is untouched") from error
    finally:
        part.unlink(missing_ok=True)
