"""The largest frame that is read, whatever size a file states."""

from __future__ import annotations

from pathlib import Path

from kinema.errors import UnreadableVideo

LARGEST_FRAME = 16384 * 16384  # pixels; one such frame takes 0.8 GB as RGB


def check_size(path: str | Path, width: int, height: int) -> None:
    """Rejects frames that are too large, before memory is allocated for them.

    Raises:
        UnreadableVideo: a frame has more than `LARGEST_FRAME` pixels.
    """
    if width * height > LARGEST_FRAME:
        reason = f"its frames have {width} x {height} pixels, but at most 16384 x 16384 pixels are read: scale it down"
        raise UnreadableVideo(path, reason)
