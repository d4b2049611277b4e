"""Opens a sample of a shard as a video: its bytes are fetched, compared with their hash, and held in memory."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from av.video.frame import VideoFrame

from kinema.data.reading.video_file import VideoReader
from kinema.data.shards.index import find_member
from kinema.data.shards.names import split_member
from kinema.data.shards.store import StoreError, read_range
from kinema.errors import UnreadableVideo
from kinema.files import on_behalf_of

_HANDLES = "/proc/self/fd"


def read_member(path: str | Path) -> bytes:
    """The bytes of a sample, compared with the hash in the index.

    Args:
        path: `SHARD.tar#NAME`, a path or an address.

    Raises:
        UnreadableVideo: the sample, its shard or the index is not there, cannot be reached or is damaged.
    """
    parts, place = split_member(path), find_member(path)
    if parts is None or place is None:
        raise UnreadableVideo(path, "not the name of a sample in a shard (SHARD.tar#NAME): correct it")
    try:
        content = read_range(parts[0], place.offset, place.offset + place.size)
    except StoreError as error:
        raise UnreadableVideo(path, f"{parts[0]}: {error}") from error
    if len(content) < place.size:
        reason = f"the shard is truncated ({len(content)} of the sample's {place.size} bytes are there): copy it again"
        raise UnreadableVideo(path, reason)
    if hashlib.sha256(content).hexdigest() != place.sha256:
        raise UnreadableVideo(path, "its bytes have another SHA-256 than the index says: copy the shard again")
    return content


class MemberReader(VideoReader):
    """A `VideoReader` of a sample in a shard; its errors name the sample.

    Args:
        path: `SHARD.tar#NAME`, a path or an address.

    Raises:
        UnreadableVideo: the sample cannot be had, or no frame of it.
    """

    def __init__(self, path: str | Path) -> None:
        self._name = os.fspath(path)
        content = read_member(path)
        with on_behalf_of(path):
            self._file, place = _held(content, PurePosixPath(self._name).suffix.lower())
        try:
            super().__init__(place)
        except UnreadableVideo as error:
            self._file.close()
            raise UnreadableVideo(self._name, error.reason) from error
        self.path = Path(self._name)

    def _collect(self, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        try:
            yield from super()._collect(wanted)
        except UnreadableVideo as error:
            raise UnreadableVideo(self._name, error.reason) from error

    def close(self) -> None:
        """Gives back the memory."""
        super().close()
        self._file.close()


def _held(content: bytes, suffix: str) -> tuple[IO[bytes], str]:
    """The bytes as a file that FFmpeg can open, and its path; it is gone when it is closed.

    In memory a file outlives no process, however that ends. It has no suffix there, which some formats are known by.
    """
    if suffix == ".mp4" and hasattr(os, "memfd_create") and Path(_HANDLES).is_dir():
        file: IO[bytes] = os.fdopen(os.memfd_create("sample"), "w+b")
        path = f"{_HANDLES}/{file.fileno()}"
    else:
        file = tempfile.NamedTemporaryFile(prefix="kinema-", suffix=suffix)  # noqa: SIM115 - closed by the reader
        path = file.name
    try:
        file.write(content)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file, path
