"""Limits of uploads, and the kinds of files that are accepted as videos."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from math import inf
from pathlib import Path

from kinema.errors import KinemaError, UnreadableVideo

_HEAD = 4096  # leading bytes that identify every container
_TS_PACKET = 188  # bytes of a packet of an MPEG transport stream
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # types of the first box of MP4 and QuickTime files
_SIGNATURES = {
    b"\x1aE\xdf\xa3": ".mkv", b"OggS": ".ogv", b"FLV\x01": ".flv", b"\x00\x00\x01\xba": ".mpg",
    b"\x00\x00\x01\xb3": ".mpg", b"GIF8": ".gif", b"0&\xb2u\x8ef\xcf\x11": ".wmv",
}  # fmt: skip


@dataclass(frozen=True)
class UploadLimits:
    """Limits of one upload and of the queue.

    Attributes:
        megabytes: largest file, in 10^6 bytes.
        seconds: longest video.
        megapixels: largest frame, in 10^6 pixels.
        queue: largest number of waiting jobs; further ones are refused.
    """

    megabytes: float = 500.0
    seconds: float = 600.0
    megapixels: float = 9.0
    queue: int = 64

    def __post_init__(self) -> None:
        for name in ("megabytes", "seconds", "megapixels", "queue"):
            if not 0 < getattr(self, name) < inf:
                raise KinemaError(f"--limit-{name} {getattr(self, name)}: give a number above 0")

    def check_duration(self, name: str, seconds: float) -> None:
        """Raises `UnreadableVideo` for a video that is too long.

        Args:
            name: name of the video, for the message.
            seconds: its duration.
        """
        if seconds > self.seconds:
            raise UnreadableVideo(
                name, f"it lasts {seconds:.0f} s, but at most {self.seconds:g} s are accepted: cut it"
            )

    def check_picture(self, name: str, width: int, height: int) -> None:
        """Raises `UnreadableVideo` for a frame that is too large.

        Args:
            name: name of the video, for the message.
            width: pixels.
            height: pixels.
        """
        if width * height > self.megapixels * 1e6:
            raise UnreadableVideo(
                name, f"its frames have {width}x{height} pixels, but at most {self.megapixels:g} megapixels are "
                "accepted: scale it down",
            )  # fmt: skip


def check_file(path: Path, limits: UploadLimits, *, name: str) -> str:
    """Checks a file without decoding it.

    Only containers that hold their own frames are accepted. Playlists, session descriptions and lists of files would
    make FFmpeg open other files and addresses; archives are not videos.

    Args:
        path: the stored file.
        limits: limit of its size.
        name: the visitor's name of the file, for messages.

    Returns:
        The suffix of the detected container, such as `.mp4`; the suffix of the visitor's name is not trusted.

    Raises:
        UnreadableVideo: a link, a folder, an empty or too large file, or content that is not a known video container.
    """
    try:
        facts = path.lstat()
    except OSError as error:
        raise UnreadableVideo(name, "the upload no longer exists: send it again") from error
    if not stat.S_ISREG(facts.st_mode):
        raise UnreadableVideo(name, "it is a link or a folder: send the video file itself")
    if facts.st_size == 0:
        raise UnreadableVideo(name, "the file is empty: send it again")
    if facts.st_size > limits.megabytes * 1e6:
        raise UnreadableVideo(
            name, f"it has {facts.st_size / 1e6:.0f} MB, but at most {limits.megabytes:g} MB are accepted: cut it"
        )
    with path.open("rb") as file:
        head = file.read(_HEAD)
    suffix = _suffix(head)
    if suffix is None:
        what = "an archive: unpack it first" if _is_archive(head) else "not an accepted video format"
        raise UnreadableVideo(name, f"it is {what}; send MP4, MOV, MKV, WebM, AVI, MPEG, WMV, FLV, OGV or GIF")
    return suffix


def _suffix(head: bytes) -> str | None:
    if head[4:8] in _BOXES:
        return ".mov" if head[8:12] == b"qt  " else ".mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return ".avi"
    if head[:1] == b"G" and head[_TS_PACKET : _TS_PACKET + 1] == b"G" and head[2 * _TS_PACKET :][:1] == b"G":
        return ".ts"
    return next((suffix for signature, suffix in _SIGNATURES.items() if head.startswith(signature)), None)


def _is_archive(head: bytes) -> bool:
    return (
        head.startswith((b"PK", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ")) or head[257:262] == b"ustar"
    )
