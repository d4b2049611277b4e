"""Odd compressed streams: packets that an encoder made, changed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
from data.plain_videos import FRAMES, HEIGHT, RATE, WIDTH, picture, x264


@dataclass(frozen=True)
class Chunk:
    """A compressed packet outside any container: stamps count frames, doubled to leave room between them."""

    data: bytes
    pts: int
    dts: int
    key: bool


def encode(codec: str, *, gop: int = 12, options: dict[str, str] | None = None) -> list[Chunk]:
    """`picture(0)`, `picture(1)`, ... as compressed packets in decoding order."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.gop_size = WIDTH, HEIGHT, "yuv420p", gop
    encoder.time_base, encoder.framerate, encoder.thread_count = Fraction(1, RATE), Fraction(RATE), 1
    encoder.options = options or {}
    packets: list[av.Packet] = []
    for i in range(FRAMES):
        frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = i, encoder.time_base
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return [Chunk(bytes(p), 2 * p.pts, 2 * p.dts, p.is_keyframe) for p in packets]


def store(path: Path, codec: str, chunks: Sequence[Chunk]) -> Path:
    """Writes packets as they are; bitstream filters of the container, which would mend them, are off."""
    with av.open(str(path), "w", container_options={"fflags": "-autobsf"}) as out:
        stream = out.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE)
        for chunk in chunks:
            packet = av.Packet(chunk.data)
            packet.stream, packet.time_base = stream, Fraction(1, 2 * RATE)
            packet.pts, packet.dts, packet.is_keyframe = chunk.pts, chunk.dts, chunk.key
            out.mux(packet)
    return path


def cut_at_keyframe(path: Path) -> Path:
    """H.264 that begins with the second keyframe of a stream, behind which frames follow that need the first."""
    chunks = encode("libx264", options=x264(**{"open-gop": 1, "bframes": 3, "b-adapt": 0}))
    second = [i for i, chunk in enumerate(chunks) if chunk.key][1]
    assert chunks[second + 1].pts < chunks[second].pts, "nothing is shown before the keyframe"
    return store(path, "libx264", chunks[second:])


_VOP = b"\x00\x00\x01\xb6"  # begins a picture of MPEG-4
_USER = b"\x00\x00\x01\xb2"  # begins the encoder's own text


def mpeg4_packed(path: Path) -> Path:
    """MPEG-4 as DivX wrote it into AVI: a P and the B frame before it in one chunk, then a chunk that says "skip"."""
    chunks = encode("mpeg4", options={"bf": "1", "b_strategy": "0", "qscale": "3"})
    packed: list[bytes] = []
    for chunk in chunks:
        if _vop_type(chunk.data) == 2:
            packed[-1] += chunk.data
            packed.append(_VOP + b"\x50\x00\x7f")
        else:
            packed.append(chunk.data)
    packed[0] = packed[0].replace(_VOP, _USER + b"DivX503b1393p" + _VOP, 1)
    stored = [Chunk(data, 2 * i, 2 * i, _vop_type(data) == 0) for i, data in enumerate(packed)]
    return store(path, "mpeg4", stored)


def _vop_type(data: bytes) -> int:
    """0 for I, 1 for P, 2 for B."""
    return data[data.index(_VOP) + 4] >> 6


def mpeg4_xvid(path: Path) -> Path:
    """MPEG-4 that says in its first packet only that Xvid wrote it, upon which decoders use Xvid's transform."""
    first, *others = encode("mpeg4", options={"qscale": "3"})
    data = first.data.replace(_VOP, _USER + b"XviD0050" + _VOP, 1)
    return store(path, "mpeg4", [replace(first, data=data), *others])


def vp8_hidden(path: Path) -> Path:
    """VP8 in which every frame 5 k + 3 is marked as not shown, as alternate references are."""
    chunks = encode("libvpx", options={"lag-in-frames": "0", "deadline": "realtime"})
    for i in range(3, FRAMES, 5):
        chunks[i] = replace(chunks[i], data=_without(16, chunks[i].data))
    return store(path, "libvpx", chunks)


def _without(bit: int, data: bytes) -> bytes:
    return bytes([data[0] & ~bit]) + data[1:]


def _superframe(one: bytes, two: bytes) -> bytes:
    """A VP9 packet of two frames: both, and an index of their sizes."""
    marker = bytes([0b110_11_001])  # sizes of four bytes, two frames
    return one + two + marker + len(one).to_bytes(4, "little") + len(two).to_bytes(4, "little") + marker


def _vp9_with_hidden() -> list[Chunk]:
    """VP9 whose second and third keyframe are marked as not shown, as alternate references are."""
    chunks = encode("libvpx-vp9", options={"auto-alt-ref": "0", "lag-in-frames": "0", "error-resilient": "1"})
    for i in (12, 24):
        chunks[i] = replace(chunks[i], data=_without(2, chunks[i].data))
    return chunks


def vp9_apart(path: Path) -> Path:
    """VP9 with two packets that show nothing."""
    return store(path, "libvpx-vp9", _vp9_with_hidden())


def vp9_hidden(path: Path) -> Path:
    """VP9 with two packets that hold a frame that is not shown and one that is, as encoders write them."""
    chunks = _vp9_with_hidden()
    for at in (24, 12):
        chunks[at : at + 2] = [replace(chunks[at + 1], data=_superframe(chunks[at].data, chunks[at + 1].data))]
    return store(path, "libvpx-vp9", chunks)


def vp9_pairs(path: Path) -> Path:
    """VP9 with two frames in each packet, both shown."""
    chunks = encode("libvpx-vp9", options={"auto-alt-ref": "0", "lag-in-frames": "0"})
    pairs = zip(chunks[::2], chunks[1::2], strict=True)
    return store(path, "libvpx-vp9", [replace(one, data=_superframe(one.data, two.data)) for one, two in pairs])
