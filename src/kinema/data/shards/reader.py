"""Opens a sample of a shard as a video: its bytes are fetched, compared with their hash, and kept in memory."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
import torch

from kinema.data.reading.info import VideoInfo
from kinema.data.reading.video_file import VideoReader
from kinema.data.reading.webp import AnimatedPicture, is_animated_webp
from kinema.data.shards.index import find_member
from kinema.data.shards.names import split_member
from kinema.data.shards.store import StoreError, read_range
from kinema.errors import UnreadableVideo
from kinema.files import on_behalf_of

_HANDLES = "/proc/self/fd"


def read_member(path: str | Path) -> bytes:
    """Returns the bytes of a sample, compared with the hash in the index.

    Args:
        path: `SHARD.tar#NAME`, a path or an address.

    Raises:
        UnreadableVideo: the sample, its shard or the index does not exist, cannot be reached or is damaged.
    """
    parts, place = split_member(path), find_member(path)
    if parts is None or place is None:
        raise UnreadableVideo(path, "not the name of a sample in a shard (SHARD.tar#NAME): correct it")
    try:
        content = read_range(parts[0], place.offset, place.offset + place.size)
    except StoreError as error:
        raise UnreadableVideo(path, f"{parts[0]}: {error}") from error
    if len(content) < place.size:
        reason = f"the shard is truncated ({len(content)} of the sample's {place.size} bytes exist): copy it again"
        raise UnreadableVideo(path, reason)
    if len(content) > place.size:
        reason = f"its server sent {len(content)} bytes instead of {place.size}: use a server that supports ranges"
        raise UnreadableVideo(path, reason)
    if hashlib.sha256(content).hexdigest() != place.sha256:
        raise UnreadableVideo(path, "the SHA-256 of its bytes differs from the index: copy the shard again")
    return content


def open_member(path: str | Path) -> MemberReader:
    """Opens a reader for a sample in a shard; use it in a `with` statement. Its errors name the sample.

    Args:
        path: `SHARD.tar#NAME`, a path or an address.

    Raises:
        UnreadableVideo: the sample, or any frame of it, cannot be read.
    """
    content = read_member(path)
    with on_behalf_of(path):
        file, place = _held(content, PurePosixPath(os.fspath(path)).suffix.lower())
    try:
        return (MemberPicture if is_animated_webp(Path(place)) else MemberReader)(path, file, place)
    except BaseException:
        file.close()
        raise


class MemberReader(VideoReader):
    """A `VideoReader` of a sample in a shard.

    Args:
        path: `SHARD.tar#NAME`, a path or an address.
        held: the sample's bytes; closed together with the reader.
        place: path by which these bytes can be opened.

    Raises:
        UnreadableVideo: no frame can be read.
    """

    def __init__(self, path: str | Path, held: IO[bytes], place: str) -> None:
        self._name, self._held_bytes = os.fspath(path), held
        with self._naming():
            super().__init__(place)
        self.path = Path(path)

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except UnreadableVideo as error:
            raise UnreadableVideo(self._name, error.reason) from error

    @property
    def info(self) -> VideoInfo:
        """Information about the video."""
        with self._naming():
            return replace(super().info, path=self._name)

    def read(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Reads frames by number, like `VideoReader.read`."""
        with self._naming():
            return super().read(indices)

    def frames(self, indices: Sequence[int] | np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yields frames one at a time, like `VideoReader.frames`."""
        return self._named(super().frames(indices))

    def _named(self, frames: Iterator[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
        with self._naming():
            yield from frames

    def close(self) -> None:
        """Frees the memory."""
        super().close()
        self._held_bytes.close()


class MemberPicture(MemberReader, AnimatedPicture):
    """An `AnimatedPicture` of a sample in a shard."""


def _held(content: bytes, suffix: str) -> tuple[IO[bytes], str]:
    """Returns the bytes as a file that can be opened by path, and that path; closing it deletes it.

    A file in memory ends with its process, however that ends. It has no suffix. FFmpeg needs no suffix if the content
    begins like an MP4 file; for other formats it uses the suffix, so that those go to a temporary file.
    """
    if content[4:8] == b"ftyp" and hasattr(os, "memfd_create") and Path(_HANDLES).is_dir():
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
