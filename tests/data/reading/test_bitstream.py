from __future__ import annotations

from pathlib import Path

import av
import pytest
from data.odd_videos import write_odd, write_video

from kinema.data.reading.bitstream import (
    av1_starts_clean,
    frames_in,
    h264_starts_clean,
    is_b_vop,
    needs_first_packet,
    starts_clean,
)

START = b"\x00\x00\x00\x01"
IDR, NON_IDR = b"\x65\x88\x84", b"\x41\x9a\x02"
VOP = b"\x00\x00\x01\xb6"


def sei(kind: int, payload: bytes) -> bytes:
    sizes = b"\xff" * (len(payload) // 255) + bytes([len(payload) % 255])
    return b"\x06" + bytes([kind]) + sizes + payload + b"\x80"


def with_lengths(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


AVCC = b"\x01\x64\x00\x1f\xff\xe1"  # lengths of four bytes


@pytest.mark.parametrize(
    ("units", "clean"),
    [
        ([IDR], True),
        ([b"\x09\xf0", b"\x67\x64", b"\x68\xee", sei(5, b"x" * 700), IDR], True),
        ([NON_IDR], False),
        ([sei(6, b"\xc4"), NON_IDR], True),  # recovery_frame_cnt 0, exact
        ([sei(6, b"\x84"), NON_IDR], False),  # recovery_frame_cnt 0, not exact
        ([sei(6, b"\x53"), NON_IDR], False),  # recovery_frame_cnt 1
        ([sei(5, b"y" * 300) + b"", sei(6, b"\xc4"), NON_IDR], True),
        ([b"\x06\x05\x01y\x06\x01\xc4\x80", NON_IDR], True),  # two messages in one unit
        ([b"\x06\xff"], False),
        ([b"\x67\x64"], False),
        ([], False),
    ],
)
def test_clean_starts_of_h264(units: list[bytes], clean: bool) -> None:
    assert h264_starts_clean(with_lengths(*units), AVCC) is clean
    assert h264_starts_clean(b"".join(START + unit for unit in units), None) is clean


def test_an_intra_refresh_is_no_clean_start_but_an_open_gop_is(tmp_path: Path) -> None:
    found = {}
    for kind in ("h264", "open_gop", "open_gop_ts", "intra_refresh"):
        with av.open(str(write_odd(kind, tmp_path))) as container:
            stream = container.streams.video[0]
            extradata = stream.codec_context.extradata
            keys = [packet for packet in container.demux(stream) if packet.is_keyframe]
            found[kind] = [h264_starts_clean(bytes(packet), extradata) for packet in keys]
    assert found["h264"] == [True] * 4
    assert found["open_gop"] == found["open_gop_ts"] == [True] * 4
    assert found["intra_refresh"] == [True, False, False, False]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libsvtav1", {"preset": "12", "svtav1-params": "keyint=12"}),
        ("libaom-av1", {"cpu-used": "8", "usage": "realtime"}),
    ],
)
def test_keyframes_of_av1_are_clean_and_no_other_frame_is(
    tmp_path: Path, codec: str, options: dict[str, str], suffix: str
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV has no {codec}")
    path = write_video(tmp_path / f"a{suffix}", codec, options=options, gop=12, frames=26)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert sum(packet.is_keyframe for packet in packets) >= 2
    assert [av1_starts_clean(bytes(packet)) for packet in packets] == [packet.is_keyframe for packet in packets]


def test_odd_units_of_av1() -> None:
    delimiter, sequence, frame = b"\x12\x00", b"\x0a\x83\x00abc", b"\x32\x01\x10"
    assert av1_starts_clean(delimiter + sequence + frame)
    assert av1_starts_clean(b"\x36\x28\x01\x10")  # with an extension
    assert av1_starts_clean(b"\x30\x10")  # without a size
    for bits in (b"\x30", b"\x90", b"\x00", b"\x50"):  # inter frame, shown again, hidden, intra only
        assert not av1_starts_clean(b"\x32\x01" + bits)
    whole = delimiter + sequence + frame
    assert not any(av1_starts_clean(whole[:length]) for length in range(len(whole)))
    assert starts_clean("av1", whole, None)
    assert not starts_clean("av1", b"", None)
    assert starts_clean("hevc", b"", None)


def test_frames_of_vp8_and_vp9() -> None:
    assert frames_in("vp8", b"\x10\x00") == 1
    assert frames_in("vp8", b"\x00\x00") == 0
    shown, hidden, again = b"\x86\x00\x40", b"\x84\x00\x40", b"\x88"
    assert [frames_in("vp9", data) for data in (shown, hidden, again)] == [1, 0, 1]
    assert frames_in("vp9", b"\xb1\x00") == 1  # profile 3 has one bit more before these
    assert frames_in("vp9", b"\xb2\x00") == 0

    def superframe(*frames: bytes) -> bytes:
        marker = bytes([0xC0 | len(frames) - 1])
        return b"".join(frames) + marker + bytes(map(len, frames)) + marker

    assert frames_in("vp9", superframe(hidden, shown)) == 1
    assert frames_in("vp9", superframe(hidden, hidden)) == 0
    assert frames_in("vp9", superframe(shown, shown, hidden)) == 2
    assert frames_in("vp9", b"\x86" + b"\xc1") == 1  # looks like the end of an index, has no beginning


def test_frames_of_mpeg4() -> None:
    body = b"\x16" * 40
    assert frames_in("mpeg4", VOP + body) == 1
    assert frames_in("mpeg4", VOP + body + VOP + body) is None
    assert frames_in("mpeg4", VOP + b"\x50\x00\x7f") is None
    assert not is_b_vop(VOP + b"\x50")
    assert is_b_vop(b"\x00\x00\x01\xb3abc" + VOP + b"\x90")
    assert not is_b_vop(b"nothing") and not is_b_vop(VOP)


def test_who_draws_from_the_first_packet() -> None:
    assert needs_first_packet("mpeg4", b"")
    assert needs_first_packet("h264", b"\x06\x05 x264 - core 120 r2164 - H.264")
    assert not needs_first_packet("h264", b"\x06\x05 x264 - core 164 r3108 - H.264")
    assert not needs_first_packet("h264", IDR)
