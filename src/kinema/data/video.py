"""Videos as frames by number: all files that FFmpeg decodes, and folders of JPEG or PNG frames."""

from __future__ import annotations

import os
from pathlib import Path

from kinema.data.clutter import is_clutter
from kinema.data.paths import doubt
from kinema.data.reading.frame_folder import FrameFolder
from kinema.data.reading.frame_sequence import pictures
from kinema.data.reading.info import VideoInfo, ticks
from kinema.data.reading.video_file import VideoReader
from kinema.data.reading.webp import AnimatedPicture, is_animated_webp
from kinema.data.shards.names import split_member
from kinema.data.shards.reader import open_member
from kinema.data.suffixes import SUFFIXES
from kinema.errors import UnreadableVideo
from kinema.files import on_behalf_of

__all__ = ["SUFFIXES", "FrameFolder", "VideoInfo", "VideoReader", "is_video", "open_video", "probe", "ticks"]


def is_video(path: str | Path) -> bool:
    """True if a path looks like a video: a file by its suffix, a folder if it directly contains JPEG or PNG files.

    A folder of videos or of folders does not become a video because of a picture beside them, such as `cover.jpg`.
    Nothing is opened, and no error is raised: a folder that cannot be listed gives False (listing it later reports the
    reason), and a file that cannot be read gives True by its name (`open_video` then says why it cannot be read).
    """
    path = Path(path)
    if not _is_folder(path):
        return path.suffix.lower() in SUFFIXES
    try:
        names = pictures(path)
        if sum(any(map(str.isdecimal, name)) for name in names) > 1:
            return True
        return bool(names) and not _holds_videos(path)
    except OSError:
        return False


def _holds_videos(folder: Path) -> bool:
    """True if a folder contains video files or folders."""
    with os.scandir(folder) as entries:
        return any(
            not is_clutter(entry.name) and (entry.is_dir() or Path(entry.name).suffix.lower() in SUFFIXES)
            for entry in entries
        )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def open_video(path: str | Path) -> VideoReader | FrameFolder:
    """Opens a reader for a video file or a folder of frames; use it in a `with` statement.

    Args:
        path: a video file, a sample of a shard (`SHARD.tar#NAME`), or a folder of JPEG or PNG files in the order of
            their names.

    Returns:
        A reader: `len(reader)` is the number of frames, `reader.read(indices)` gives uint8 T H W 3 (RGB).

    Raises:
        UnreadableVideo: no frame can be read.
    """
    if split_member(path) is not None:
        return open_member(path)
    path = Path(path)
    _require_spelled(path)
    with on_behalf_of(path):
        if path.is_dir():
            return FrameFolder(path)
        if path.is_file() and is_animated_webp(path):
            return AnimatedPicture(path)
    return VideoReader(path)


def _require_spelled(path: Path) -> None:
    """Describes what is unusual about a path that does not exist; other problems are reported by its reader."""
    try:
        path.stat()
    except FileNotFoundError:
        odd = doubt(str(path))
        if odd:
            raise UnreadableVideo(path, f"there is no such file, and its path is {odd}: correct it") from None
    except (OSError, ValueError):
        return


def probe(path: str | Path) -> VideoInfo:
    """Returns information about a video. One frame of a file is decoded, or the header of every frame in a folder read.

    Raises:
        UnreadableVideo: no frame can be read, or the frames of a folder differ in size.
    """
    with open_video(path) as video:
        return video.info
