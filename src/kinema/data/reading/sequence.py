"""Reads from the header of a stream whether it may be interlaced."""

from __future__ import annotations

from kinema.data.reading.h264 import parameter_sets, read_sequence_set

_EXTENSION = b"\x00\x00\x01\xb5"


def is_progressive(codec: str, header: bytes | None) -> bool:
    """True if a stream's header excludes interlaced pictures.

    Args:
        codec: FFmpeg's canonical name.
        header: FFmpeg's extradata; None or an unknown form counts as "not excluded".
    """
    if codec == "h264" and header:
        units = [unit for unit in parameter_sets(header) if unit[0] & 31 == 7]
        return bool(units) and all(map(_frames_only, units))
    if codec == "mpeg2video" and header:
        at = header.find(_EXTENSION) + len(_EXTENSION)
        return at >= len(_EXTENSION) and at + 1 < len(header) and header[at] >> 4 == 1 and bool(header[at + 1] & 8)
    return codec == "mpeg1video"


def _frames_only(unit: bytes) -> bool:
    try:
        return read_sequence_set(unit).frames_only
    except IndexError:
        return False
