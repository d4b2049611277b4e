"""What reading a video refuses, whatever the file claims: frames too large, and errors of the file system."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinema.errors import UnreadableVideo

LARGEST_FRAME = 16384 * 16384  # pixels; one such frame takes 0.8 GB as RGB


def check_size(path: str | Path, width: int, height: int) -> None:
    """Refuses frames that are too large, before memory is taken for them.

    Raises:
        UnreadableVideo: a frame has more than `LARGEST_FRAME` pixels.
    """
    if width * height > LARGEST_FRAME:
        reason = f"its frames have {width} x {height} pixels, and at most 16384 x 16384 pixels are read: scale it down"
        raise UnreadableVideo(path, reason)


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turns an error of the file system into one that names the video.

    Raises:
        UnreadableVideo: the file or folder cannot be read (no permission, a name that is too long, a broken disk).
    """
    try:
        yield
    except OSError as error:
        reason = f"it cannot be read ({error.strerror or error}): check its name, its permissions and the disk"
        raise UnreadableVideo(path, reason) from error
    except ValueError as error:
        if "null" not in str(error):  # Python's word for a path with a zero byte
            raise
        raise UnreadableVideo(path, "its name holds a zero byte: correct the path") from error
