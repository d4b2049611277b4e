"""The packets of an MP4 or MOV file from its own tables: no packet has to be read, however large the file is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.video.stream import VideoStream

from kinema.data.reading.boxes import outermost
from kinema.data.reading.pyav import index_entries

_INSIDE = (b"mdia", b"minf", b"stbl")


@dataclass(frozen=True)
class SampleTable:
    """The packets of a stream in storage order.

    Attributes:
        pts: int64 presentation times.
        dts: int64 decoding times.
        sizes: sizes, in bytes.
        places: positions in the file, in bytes.
        keys: bool, True if the file marks them as keyframes.
    """

    pts: np.ndarray
    dts: np.ndarray
    sizes: np.ndarray
    places: np.ndarray
    keys: np.ndarray


def read_sample_table(path: Path, stream: VideoStream) -> SampleTable | None:
    """Returns the table of an opened stream, or None if it is incomplete and the packets must be read.

    FFmpeg's index gives decoding times, after edit lists. The composition offsets, which lead to presentation times,
    are read from the file. Returns None for fragmented files, for edit lists that hide, repeat or drop packets, and for
    files that are cut off.
    """
    tables = _tables(path, stream.id)
    entries = [(e.timestamp, e.size, e.pos, e.is_keyframe, e.is_discard) for e in index_entries(stream) or ()]
    if tables is None or len(entries) < 2 or len(tables[b"stsz"]) < 12:
        return None
    dts, sizes, places, keys, hidden = (np.array(column) for column in zip(*entries, strict=True))
    stored = int.from_bytes(tables[b"stsz"][8:12], "big")
    whole = stored == len(entries) and places.min() >= 0 and (places + sizes).max() <= path.stat().st_size
    if not whole or hidden.any() or (sizes <= 0).any() or (np.diff(dts) <= 0).any():
        return None
    offsets = np.zeros(stored, np.int64)
    if b"ctts" in tables:
        runs = tables[b"ctts"][8:]
        counts, values = np.frombuffer(runs[: len(runs) // 8 * 8], ">i4").astype(np.int64).reshape(-1, 2).T
        if (counts < 0).any() or counts.sum() != stored or np.abs(values).max() > 1 << 28:
            return None
        offsets = np.repeat(values, counts)
    shift = max(0, -int(offsets.min()))  # FFmpeg shifts decoding times so that no offset is negative
    return SampleTable(dts + shift + offsets, dts, sizes, places, keys)


def _tables(path: Path, track: int) -> dict[bytes, bytes] | None:
    """Returns the sample tables of a track by name, or None if the file has no tables for all of it."""
    moov = next((box for box in outermost(path) if box.name == b"moov"), None)
    if moov is None or moov.held < moov.size:
        return None
    with path.open("rb") as file:
        file.seek(moov.at)
        return _track_tables(file.read(moov.size), track)


def _track_tables(moov: bytes, track: int) -> dict[bytes, bytes] | None:
    for name, body in _boxes(moov[8:]):
        if name == b"mvex":  # the frames are in fragments
            return None
        if name == b"trak":
            inside = dict(_boxes(body))
            head = inside.get(b"tkhd", b"")
            place = 20 if head[:1] == b"\x01" else 12
            if int.from_bytes(head[place : place + 4], "big") != track:
                continue
            for name in _INSIDE:
                inside = dict(_boxes(inside.get(name, b"")))
            return inside if b"stsz" in inside else None
    return None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size < 8:
            return
        yield data[at + 4 : at + 8], data[at + 8 : at + size]
        at += size
