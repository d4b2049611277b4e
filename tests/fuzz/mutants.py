"""Damages video files from a seed: the same seed and the same release of FFmpeg give the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import av
import numpy as np
from data.plain_videos import write_video, x264

FRAMES = 24
_GOP = 8
_PLAIN = {"fflags": "+bitexact"}  # Matroska else gets a random identifier
_X265 = "keyint=8:min-keyint=8:scenecut=0:pools=none:frame-threads=1:log-level=none"
_OPEN = x264(**{"open-gop": 1, "bframes": 3, "keyint": _GOP})
_B = {"bf": "2", "b_strategy": "0", "qscale": "3"}
_AV1 = {"preset": "12", "svtav1-params": "keyint=8:lp=1"}
_VP9 = {"cpu-used": "8", "deadline": "realtime", "lag-in-frames": "0"}


def _writer(codec: str = "libx264", **how: object) -> Callable[[Path], Path]:
    options = {"gop": _GOP, "frames": FRAMES, "mux": _PLAIN, **how}
    return lambda path: write_video(path, codec, **options)  # type: ignore[arg-type]


_WRITERS: dict[str, tuple[str, str, Callable[[Path], Path]]] = {  # kind -> suffix, encoder, writer
    "h264.mp4": (".mp4", "libx264", _writer()),
    "h264_b.mp4": (".mp4", "libx264", _writer(options=_OPEN, mux={"movflags": "faststart", **_PLAIN})),
    "h264.mkv": (".mkv", "libx264", _writer()),
    "h264.ts": (".ts", "libx264", _writer(options=x264(bframes=2, keyint=_GOP))),
    "h264.h264": (".h264", "libx264", _writer()),
    "hevc.mp4": (".mp4", "libx265", _writer("libx265", options={"x265-params": _X265})),
    "hevc.ts": (".ts", "libx265", _writer("libx265", options={"x265-params": _X265})),
    "mpeg4.avi": (".avi", "mpeg4", _writer("mpeg4", options={"qscale": "3"})),
    "mpeg4.mp4": (".mp4", "mpeg4", _writer("mpeg4", options=_B)),
    "mjpeg.avi": (".avi", "mjpeg", _writer("mjpeg", pix_fmt="yuvj420p")),
    "vp9.webm": (".webm", "libvpx-vp9", _writer("libvpx-vp9", options=_VP9)),
    "av1.mp4": (".mp4", "libsvtav1", _writer("libsvtav1", options=_AV1)),
    "gif.gif": (".gif", "gif", _writer("gif", pix_fmt="rgb8")),
    "mpeg2.ts": (".ts", "mpeg2video", _writer("mpeg2video", options=_B)),
    "mpeg2.mpg": (".mpg", "mpeg2video", _writer("mpeg2video", options=_B)),
}
KINDS = tuple(kind for kind, (_, codec, _) in _WRITERS.items() if codec in av.codecs_available)


@dataclass(frozen=True)
class Source:
    """A sound file.

    Attributes:
        kind: of `KINDS`.
        path: of the file.
    """

    kind: str
    path: Path

    @cached_property
    def data(self) -> bytes:
        return self.path.read_bytes()

    @cached_property
    def places(self) -> list[tuple[int, int]]:
        """Where each packet lies and how long it is, as far as the container says."""
        with av.open(str(self.path)) as container:
            packets = [p for p in container.demux(video=0) if p.size]
        return [(p.pos, p.size) for p in packets if p.pos is not None and p.pos >= 0]


def write_source(kind: str, folder: Path) -> Source:
    """Writes the sound file of a kind into a folder, unless it is there."""
    suffix, _, write = _WRITERS[kind]
    path = folder / f"{kind.replace('.', '_')}{suffix}"
    return Source(kind, path if path.exists() else write(path))


def kind_of(seed: int) -> str:
    """The kind of file that a seed damages."""
    return KINDS[seed % len(KINDS)]


def write_mutant(seed: int, source: Source, path: Path) -> str:
    """Writes the damaged file of a seed to `path` and names what was done."""
    rng = np.random.default_rng([seed, 20261128])
    left_out = () if source.places else _BY_PACKET
    if kind_of(seed).startswith("av1"):  # PyAV writes no packets of a stream that libdav1d reads
        left_out = (*left_out, *_REMUXED)
    names = [name for name in _DAMAGE if name not in left_out]
    done = [str(rng.choice(names))]
    if rng.random() < 0.15:
        done.append(str(rng.choice(names)))
    if done[0] in _REMUXED:
        _REMUXED[done[0]](source, path, rng)
        done = done[:1]
    else:
        data = bytearray(source.data)
        done = [name for name in done if name not in _REMUXED]
        for name in done:
            data = _DAMAGE[name](data, source, rng)
        path.write_bytes(data)
    return "+".join(done)


def _at(data: bytearray, rng: np.random.Generator, room: int = 0) -> int:
    return int(rng.integers(0, max(1, len(data) - room)))


def _truncate(data: bytearray, source: Source, rng: np.random.Generator) -> bytearray:
    return data[: _at(data, rng)]


def _behead(data: bytearray, source: Source, rng: np.random.Generator) -> bytearray:
    return data[_at(data, rng) :]


def _cut_out(data: bytearray, source: Source, rng: np.random.Generator) -> bytearray:
    at, size = _at(data, rng), int(2 ** rng.uniform(0, 11))
    return data[:at] + data[at + size :]


def _flip(data: bytearray, source: Source, rng: np.random.Generator) -> bytearray:
    for _ in range(int(2 ** rng.uniform(0, 6))):
        data[_at(data, rng)] ^= 1 << int(rng.integers(8))
    return data


def _noise(data: bytearray, source: Source, rng: np.random.Generator) -> bytearray:
    at, size = _at(data, rng), int(2 ** rng.uniform(2, 11))
    data[at : at + size] = rng.bytes(len(data[at : at + size]))
    return data


def _zeros(data: bytearray, source: Source, rng: np.random.Generator) -> bytearray:
    at, size = _at(data, rng), int(2 ** rng.uniform(2, 11))
    data[at : at + size] = bytes(len(data[at : at + size]))
    return data


def _insert(data: bytearray, source: Source, rng: np.random.Generator) -> bytearray:
    at = _at(data, rng)
    data[at:at] = rng.bytes(int(2 ** rng.uniform(0, 9)))
    return data


def _repeat(data: bytearray, source: Source, rng: np.random.Generator) -> bytearray:
    at, size = _at(data, rng), int(2 ** rng.uniform(0, 11))
    data[at:at] = data[at : at + size]
    return data


def _exchange_blocks(data: bytearray, source: Source, rng: np.random.Generator) -> bytearray:
    size = 188 if source.kind.endswith(".ts") else int(rng.choice([64, 512]))
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    a, b = (int(i) for i in rng.integers(0, len(blocks), 2))
    blocks[a], blocks[b] = blocks[b], blocks[a]
    return bytearray(b"".join(blocks))


_EXTREMES = tuple(
    value.to_bytes(width, order)  # type: ignore[arg-type]
    for width, values in (
        (2, (0, 1, 0x7FFF, 0x8000, 0xFFFF)),
        (4, (0, 1, 24, 1 << 16, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)),
        (8, (0, 2**63 - 1, 2**64 - 1)),
    )
    for value in values
    for order in ("big", "little")
)


def _lie(data: bytearray, source: Source, rng: np.random.Generator) -> bytearray:
    """Overwrites numbers of the header with extreme ones: outside all packets where these are known."""
    taken = np.zeros(len(source.data), bool)
    for at, size in source.places:
        taken[at : at + size] = True
    header = np.flatnonzero(~taken[: len(data)])
    if not len(header) or source.kind.endswith(".ts"):
        header = np.arange(min(1000, len(data)))
    for _ in range(int(rng.integers(1, 4))):
        at, value = int(rng.choice(header)), _EXTREMES[int(rng.integers(len(_EXTREMES)))]
        data[at : at + len(value)] = value[: len(data) - at]
    return data


def _nudge(data: bytearray, source: Source, rng: np.random.Generator) -> bytearray:
    """Changes single numbers of the header by little, which is harder to notice."""
    taken = np.zeros(len(source.data), bool)
    for at, size in source.places:
        taken[at : at + size] = True
    header = np.flatnonzero(~taken[: len(data)])
    if not len(header):
        header = np.arange(min(64, len(data)))
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.choice(header))
        data[at] = (data[at] + int(rng.choice([-2, -1, 1, 2, 16]))) % 256
    return data


def _clear_packet(data: bytearray, source: Source, rng: np.random.Generator) -> bytearray:
    at, size = source.places[int(rng.integers(len(source.places)))]
    keep = int(rng.choice([0, 4, 8, size // 2]))
    data[at + keep : at + size] = bytes(max(0, len(data[at + keep : at + size])))
    return data


def _swap_bodies(data: bytearray, source: Source, rng: np.random.Generator) -> bytearray:
    """Exchanges the bytes of two packets as far as the shorter one goes."""
    (a, size_a), (b, size_b) = (source.places[int(i)] for i in rng.integers(0, len(source.places), 2))
    size = min(size_a, size_b, len(data) - max(a, b))
    if size > 0:
        data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    return data


def _remux(source: Source, path: Path, order: Callable[[int], list[int]]) -> None:
    """Writes the packets anew: in place k, with its stamps, stands the content of packet order[k]."""
    form = {"h264": "h264", "mpg": "mpeg"}.get(path.suffix[1:])
    with (
        av.open(str(source.path)) as given,
        av.open(str(path), "w", format=form, container_options=_PLAIN) as out,
    ):
        stream = given.streams.video[0]
        copy = out.add_stream_from_template(stream)
        packets = [p for p in given.demux(stream) if p.size]
        contents = [bytes(p) for p in packets]
        for place, number in enumerate(order(len(packets))):
            like = packets[min(place, len(packets) - 1)]
            packet = av.Packet(contents[number])
            packet.pts, packet.dts, packet.time_base = like.pts, like.dts, like.time_base
            packet.is_keyframe, packet.duration = packets[number].is_keyframe, like.duration
            if place >= len(packets):
                packet.dts = packet.pts = (like.pts or 0) + (like.duration or 1) * (place - len(packets) + 1)
            packet.stream = copy
            out.mux(packet)


def _swap_packets(source: Source, path: Path, rng: np.random.Generator) -> None:
    def order(count: int) -> list[int]:
        numbers = list(range(count))
        a, b = rng.integers(0, count, 2)
        numbers[a], numbers[b] = numbers[b], numbers[a]
        return numbers

    _remux(source, path, order)


def _drop_packets(source: Source, path: Path, rng: np.random.Generator) -> None:
    def order(count: int) -> list[int]:
        gone = set(rng.integers(0, count, int(rng.integers(1, 4))).tolist())
        return [i for i in range(count) if i not in gone]

    _remux(source, path, order)


def _double_packet(source: Source, path: Path, rng: np.random.Generator) -> None:
    def order(count: int) -> list[int]:
        at = int(rng.integers(count))
        return [*range(at + 1), at, *range(at + 1, count)]

    _remux(source, path, order)


_REMUXED: dict[str, Callable[[Source, Path, np.random.Generator], None]] = {
    "swap-packets": _swap_packets,
    "drop-packets": _drop_packets,
    "double-packet": _double_packet,
}
_BY_PACKET = ("clear-packet", "swap-bodies")
_DAMAGE: dict[str, Callable[..., bytearray]] = {
    "truncate": _truncate,
    "behead": _behead,
    "cut-out": _cut_out,
    "flip": _flip,
    "noise": _noise,
    "zeros": _zeros,
    "insert": _insert,
    "repeat": _repeat,
    "exchange-blocks": _exchange_blocks,
    "lie": _lie,
    "nudge": _nudge,
    "clear-packet": _clear_packet,
    "swap-bodies": _swap_bodies,
    **_REMUXED,  # type: ignore[dict-item]
}
