"""Reads from the header of a stream whether it may be interlaced."""

from __future__ import annotations

from collections.abc import Iterator

_START_CODE = b"\x00\x00\x01"
_EXTENSION = b"\x00\x00\x01\xb5"
_WITH_CHROMA = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))  # profiles (7.3.2.1.1)


def is_progressive(codec: str, header: bytes | None) -> bool:
    """True if a stream's header excludes interlaced pictures.

    Args:
        codec: FFmpeg's canonical name.
        header: FFmpeg's extradata; None or an unknown form counts as "not excluded".
    """
    if codec == "h264" and header:
        units = list(_parameter_sets(header))
        return bool(units) and all(map(_frames_only, units))
    if codec == "mpeg2video" and header:
        at = header.find(_EXTENSION) + len(_EXTENSION)
        return at >= len(_EXTENSION) and at + 1 < len(header) and header[at] >> 4 == 1 and bool(header[at + 1] & 8)
    return codec == "mpeg1video"


def _parameter_sets(header: bytes) -> Iterator[bytes]:
    """Returns the sequence parameter sets of H.264, from an MP4's `avcC` or from a stream with start codes."""
    if header[0] == 1:
        at = 6
        for _ in range(header[5] & 31 if len(header) > 5 else 0):
            size = int.from_bytes(header[at : at + 2], "big")
            yield header[at + 2 : at + 2 + size]
            at += 2 + size
        return
    for unit in header.split(_START_CODE)[1:]:
        if unit and unit[0] & 31 == 7:
            yield unit


def _frames_only(unit: bytes) -> bool:
    """Returns the flag `frame_mbs_only_flag` of an H.264 sequence parameter set (ISO 14496-10, 7.3.2.1.1)."""
    try:
        return _read_frames_only(_Bits(unit[1:].replace(b"\x00\x00\x03", b"\x00\x00")))
    except IndexError:
        return False


def _read_frames_only(bits: _Bits) -> bool:
    profile = bits.take(8)
    bits.take(16)
    bits.golomb()
    if profile in _WITH_CHROMA:
        chroma = bits.golomb()
        if chroma == 3:
            bits.take(1)
        bits.golomb()
        bits.golomb()
        bits.take(1)
        if bits.take(1):
            for table in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_scaling(bits, 16 if table < 6 else 64)
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1)
        bits.golomb()
        bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb()
    bits.take(1)
    bits.golomb()
    bits.golomb()
    return bool(bits.take(1))


def _skip_scaling(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.golomb()
            following = (last + ((code + 1) // 2 if code & 1 else -(code // 2))) % 256
        last = following or last


class _Bits:
    """Reads bits from the front; raises IndexError after the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self._data[self._at >> 3] >> (7 - (self._at & 7)) & 1
            self._at += 1
        return value

    def golomb(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)
