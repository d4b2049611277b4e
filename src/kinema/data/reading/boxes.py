"""The top-level parts of a file (the boxes of MP4 and MOV, RIFF, EBML), which show whether it is complete."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_OUTERMOST = frozenset(
    (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"moof", b"styp", b"sidx")
)
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_MOST = 4096  # a fragmented file has two per fragment; further ones add no information


@dataclass(frozen=True)
class Box:
    """One top-level box.

    Attributes:
        name: name, four bytes.
        at: position of its start in the file, in bytes.
        size: size that it declares, including its header, in bytes.
        held: number of these bytes that the file contains.
    """

    name: bytes
    at: int
    size: int
    held: int


def outermost(path: Path) -> list[Box]:
    """Lists the boxes of a file up to the first invalid one; empty if the file is not an MP4.

    Raises:
        OSError: the file cannot be read.
    """
    found: list[Box] = []
    with path.open("rb") as file:
        end, at = path.stat().st_size, 0
        while at + 8 <= end and len(found) < _MOST:
            file.seek(at)
            head = file.read(16)
            size = int.from_bytes(head[:4], "big")
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            elif size == 0:  # "to the end of the file"
                size = end - at
            if size < 8 or (not found and head[4:8] not in _OUTERMOST):
                break
            found.append(Box(head[4:8], at, size, min(size, end - at)))
            at += size
    return found


def is_truncated(path: Path) -> bool:
    """True if an MP4, AVI or Matroska file declares to be longer than it is.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head, size = file.read(4096), path.stat().st_size
    if head[:4] == b"RIFF":
        return 8 + int.from_bytes(head[4:8], "little") > size
    if head[:4] == _EBML:
        at = head.find(_SEGMENT)
        return at >= 0 and at + len(_SEGMENT) + _ebml_length(head[at + len(_SEGMENT) :]) > size
    return any(box.held < box.size for box in outermost(path))


def _ebml_length(data: bytes) -> int:
    """Returns the length at the start of an EBML element; 0 if it is not stated (a live stream)."""
    width = 9 - data[0].bit_length() if data and data[0] else 0
    bits = 7 * width
    value = int.from_bytes(data[:width], "big") & ((1 << bits) - 1)
    return 0 if value == (1 << bits) - 1 else value


def why_truncated(path: Path) -> str | None:
    """Describes what is missing from an incomplete file; None if nothing is missing or the format does not show it.

    Raises:
        OSError: the file cannot be read.
    """
    boxes = outermost(path)
    if not boxes:
        return "the file is truncated (it declares more bytes than it contains)" if is_truncated(path) else None
    cut = next((box for box in boxes if box.held < box.size), None)
    names = [box.name for box in boxes]
    if cut and cut.name == b"moov":
        return f"the file is truncated inside its frame table (moov), {cut.held} of {cut.size} bytes are there"
    if cut and b"moov" not in names:
        name = cut.name.decode("ascii", "replace")
        name = name if name.isprintable() and name.isascii() else "a part without a name"
        return (
            f"the file is truncated: it contains {cut.held} of {cut.size} bytes of {name}, and the frame table (moov) "
            "that should follow is missing"
        )
    if cut:
        return f"the file is truncated: {cut.size - cut.held} of its {cut.at + cut.size} bytes are missing at the end"
    if b"moov" not in names and b"moof" not in names:
        return "its frame table (moov) is missing because the recording was not finished or the file is truncated"
    return None
