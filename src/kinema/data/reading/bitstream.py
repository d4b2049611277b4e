"""What the first bytes of a compressed packet tell without decoding it."""

from __future__ import annotations

import re
from collections.abc import Iterator

_START_CODE = b"\x00\x00\x01"
_WITH_START_CODES = frozenset(("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4"))
# Zeros may stand before a start code and at the end, where they are filling (behind a length, one at most: no encoder
# ends a unit with zeros, but some multiplexers leave one of a start code there).
_FORBIDDEN = re.compile(rb"\x00\x00(?:\x00+[^\x00\x01]|\x02)")
# The longest runs that FFmpeg's encoders wrote for black, static, faded and noisy pictures of up to 3840 x 2160 pixels:
# 6 bytes for VP9, 2 for the others. VP8 wrote up to 192 and is not judged by this.
_WITHOUT_ZEROS = frozenset(("vp9", "h263", "flv1", "msmpeg4v2", "msmpeg4v3"))
_ZEROS = bytes(32)
_AV1_FRAMES = (3, 6)  # OBU_FRAME_HEADER, OBU_FRAME
_VOP = b"\x00\x00\x01\xb6"
_LARGEST_SKIPPED_VOP = 19  # bytes; the bound by which FFmpeg tells a VOP that only says "as before"


def frames_in(codec: str, data: bytes) -> int | None:
    """How many frames the decoder shows for a packet: None where only decoding can tell.

    Args:
        codec: FFmpeg's canonical name.
        data: the packet.
    """
    if codec == "vp8":
        return data[0] >> 4 & 1  # show_frame (RFC 6386, 9.1)
    if codec == "vp9":
        return sum(map(_vp9_shows, _vp9_frames(data)))
    if codec == "mpeg4":
        plain = data.count(_VOP) == 1 and len(data) > _LARGEST_SKIPPED_VOP
        return 1 if plain else None  # DivX packs a P and a B frame into one packet, and a "skip" into the next
    return 1


def is_b_vop(data: bytes) -> bool:
    """Whether an MPEG-4 packet begins with a B frame (vop_coding_type, ISO 14496-2, 6.2.5)."""
    at = data.find(_VOP) + len(_VOP)
    return at >= len(_VOP) and at < len(data) and data[at] >> 6 == 2


def _vp9_frames(data: bytes) -> Iterator[bytes]:
    """The frames of a VP9 packet; a superframe ends in an index of their sizes (VP9 bitstream, annex B)."""
    marker = data[-1]
    count, width = (marker & 7) + 1, (marker >> 3 & 3) + 1
    index = 2 + count * width
    if marker >> 5 != 0b110 or len(data) < index or data[-index] != marker:
        yield data
        return
    at = 0
    for i in range(count):
        place = len(data) - index + 1 + i * width
        size = int.from_bytes(data[place : place + width], "little")
        frame = data[at : at + size]
        if frame:
            yield frame
        at += size


def _vp9_shows(frame: bytes) -> bool:
    """Whether a VP9 frame is shown (uncompressed header, 6.2): show_existing_frame, frame_type, show_frame."""
    reserved = frame[0] >> 4 & 3 == 3
    bits = frame[0] << 1 if reserved else frame[0]
    return bool(bits & 0b1010)


def starts_clean(codec: str, data: bytes, extradata: bytes | None) -> bool:
    """True if decoding can start at a packet that the container flags as a keyframe.

    Args:
        codec: FFmpeg's canonical name; for codecs other than H.264 and AV1 the container's flag is trusted.
        data: the first bytes of the packet.
        extradata: of the stream.
    """
    if codec == "h264":
        return h264_starts_clean(data, extradata)
    return codec != "av1" or av1_starts_clean(data)


def av1_starts_clean(data: bytes) -> bool:
    """True if the first frame of an AV1 packet is a keyframe that is shown (AV1 bitstream, 5.3 and 5.9.2)."""
    at = 0
    while at + 1 < len(data):
        kind, extended, sized = data[at] >> 3 & 15, data[at] >> 2 & 1, data[at] >> 1 & 1
        at += 1 + extended
        size = shift = 0
        while sized and at < len(data):
            size |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if data[at - 1] < 128:
                break
        if kind in _AV1_FRAMES:
            return at < len(data) and data[at] >> 4 == 0b0001  # not shown again, type 0, shown
        if not sized:
            return False
        at += size
    return False


def h264_starts_clean(data: bytes, extradata: bytes | None) -> bool:
    """Whether decoding may start at an H.264 key packet and gives the bits that a decoder from the start gives.

    True for an instantaneous refresh (IDR), and for an I frame whose recovery point is at once and exact (open GOP).
    An intra refresh, which takes several frames to become right, is no clean start.
    """
    exact = False
    for unit in _h264_units(data, extradata):
        kind = unit[0] & 31
        if kind == 5:
            return True
        if kind in (1, 2):
            return exact
        if kind == 6:
            exact = exact or _exact_recovery(unit[1:].replace(b"\x00\x00\x03", b"\x00\x00"))
    return False


def _h264_units(data: bytes, extradata: bytes | None) -> Iterator[bytes]:
    """The NAL units of a packet, stored with lengths (MP4, Matroska) or with start codes (transport streams)."""
    width = length_width("h264", extradata)
    if width:
        at = 0
        while at + width < len(data):
            size = int.from_bytes(data[at : at + width], "big")
            if size:
                yield data[at + width : at + width + size]
            at += width + size
        return
    at = data.find(_START_CODE)
    while 0 <= at < len(data) - 3:
        end = data.find(_START_CODE, at + 3)
        yield data[at + 3 : end if end >= 0 else len(data)]
        at = end


def _exact_recovery(body: bytes) -> bool:
    """Whether SEI messages hold a recovery point (type 6) with recovery_frame_cnt 0 and exact_match_flag 1."""
    at = 0
    while at + 2 < len(body):
        numbers = []
        for _ in range(2):  # type, then size: each a sum of bytes up to the first that is not 255
            number = 0
            while at < len(body) and body[at] == 255:
                number, at = number + 255, at + 1
            if at == len(body):
                return False
            numbers.append(number + body[at])
            at += 1
        kind, size = numbers
        if kind == 6 and at < len(body):
            return body[at] >> 6 == 0b11
        at += size
    return False


def begins_frame(codec: str, data: bytes) -> bool:
    """Whether a piece of a stream begins with a frame, or with what stands before one; else it continues a frame.

    Args:
        codec: FFmpeg's canonical name; pieces of codecs without start codes count as whole frames.
        data: the first bytes.
    """
    if codec not in _WITH_START_CODES:
        return True
    at = data.find(_START_CODE)
    if at < 0 or any(data[:at]) or at + 6 > len(data):
        return False
    first = data[at + 3]
    if codec == "h264":
        kind = first & 31
        return data[at + 4] >> 7 == 1 if kind in (1, 2, 5) else kind in (6, 7, 8, 9)  # first_mb_in_slice is 0
    if codec == "hevc":
        kind = first >> 1 & 63
        return data[at + 5] >> 7 == 1 if kind < 32 else kind in (32, 33, 34, 35, 39)
    if codec == "mpeg4":
        return first in (0xB0, 0xB3, 0xB5, 0xB6) or first < 0x30
    return first in (0x00, 0xB3, 0xB8)  # of MPEG-1 and 2: picture, sequence, group


def is_torn(codec: str, data: bytes, extradata: bytes | None) -> bool:
    """Whether a packet holds bytes that no encoder writes, such as a run of zeros within a picture.

    Codecs with start codes keep `00 00 00` and `00 00 02` out of everything between two start codes, so that these are
    proof of damage; decoders conceal it, and not all of them say so. In some other codecs no long run of zeros occurs.

    Args:
        codec: FFmpeg's canonical name.
        data: the packet.
        extradata: of the stream; tells whether units have a length in front or a start code.
    """
    if codec == "mjpeg":
        return not _jpeg_has_picture(data)
    if codec not in _WITH_START_CODES:
        return codec in _WITHOUT_ZEROS and _ZEROS in data
    width = length_width(codec, extradata)
    if not width:
        return _is_forbidden(data, 0, len(data))
    at = 0
    while at + width < len(data):
        size = int.from_bytes(data[at : at + width], "big")
        at += width
        end = at + size
        if not size or end > len(data) or _is_forbidden(data, at, end) or not any(data[max(at, end - 2) : end]):
            return True
        at = end
    return False


def _is_forbidden(data: bytes, at: int, end: int) -> bool:
    zeros = data.find(b"\x00\x00", at, end)  # much faster than the expression, and most units have no zeros
    return zeros >= 0 and _FORBIDDEN.search(data, zeros, end) is not None


def _jpeg_has_picture(data: bytes) -> bool:
    """Whether the segments of a JPEG lead to its tables, a frame header and then a scan.

    FFmpeg reports no error where one of them is missing, and shows what lies in memory, or uses the tables of another
    picture. What stands between segments is passed over, as FFmpeg does.
    """
    framed = quantised = has_tables = False
    at = data.find(b"\xff\xd8") + 2
    while 2 <= at < len(data) - 3:
        at = data.find(b"\xff", at)
        if not 0 <= at < len(data) - 3:
            return False
        kind = data[at + 1]
        if kind == 0xDA:
            return framed and (has_tables or not quantised)
        is_frame = 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC)
        framed = framed or is_frame or kind == 0xF7  # JPEG-LS
        quantised = quantised or (is_frame and kind & 3 != 3)  # the others are lossless
        has_tables = has_tables or kind == 0xDB
        alone = kind in (0x00, 0xFF, 0x01) or 0xD0 <= kind <= 0xD9
        at += (1 if kind == 0xFF else 2) if alone else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def length_width(codec: str, extradata: bytes | None) -> int:
    """Bytes of the length in front of each unit in MP4 and Matroska; 0 for start codes."""
    if not extradata or extradata[0] != 1:
        return 0
    if codec == "h264" and len(extradata) > 4:
        return (extradata[4] & 3) + 1
    if codec == "hevc" and len(extradata) > 22:
        return (extradata[21] & 3) + 1
    return 0


def needs_first_packet(codec: str, first: bytes) -> bool:
    """Whether the decoder draws from the first packet what it needs for all later ones.

    MPEG-4 names its encoder there, and the decoder then follows that encoder's transform and errors; so do the oldest
    builds of x264.
    """
    if codec == "h264":
        build = re.search(rb"x264 - core (\d+)", first)
        return build is not None and int(build[1]) < 151
    return codec == "mpeg4"
