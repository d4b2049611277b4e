"""Transport streams with losses: which transport packets carry which frame, and the file without some of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import av
from data.odd_videos import write_video, x264

_SIZE = 188
VIDEO = 256  # the identifier that FFmpeg gives to the first stream

# Large enough that every frame takes several transport packets; closed groups of 12 frames.
_X265 = "open-gop=0:keyint=12:min-keyint=12:scenecut=0:qp=16:pools=none:frame-threads=1:log-level=none"
CODECS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", x264(bframes=3, qp=16, keyint=12)),
    "hevc": ("libx265", {"x265-params": _X265}),
    "mpeg2": ("mpeg2video", {"bf": "2", "b_strategy": "0", "qscale": "2"}),
}


@dataclass(frozen=True)
class Stored:
    """A frame as it is stored.

    Attributes:
        index: its number in the order of showing.
        key: whether it is a keyframe.
        carried: which transport packets of the file carry it, counted from 0.
    """

    index: int
    key: bool
    carried: list[int]


def write_stream(path: Path, codec: str, **options: object) -> Path:
    """A transport stream of a codec of `CODECS`."""
    name, settings = CODECS[codec]
    return write_video(path, name, size=(192, 128), options=settings, **options)  # type: ignore[arg-type]


def stored_frames(path: Path) -> list[Stored]:
    """The frames of a transport stream in the order in which they are stored."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    shown = sorted(packet.pts for packet in packets)
    data = path.read_bytes()
    carried: list[list[int]] = []
    for number in range(len(data) // _SIZE):
        head = data[number * _SIZE : number * _SIZE + 4]
        if (head[1] & 31) << 8 | head[2] == VIDEO:
            if head[1] & 64:  # a frame begins
                carried.append([])
            carried[-1].append(number)
    assert len(carried) == len(packets)
    return [Stored(shown.index(p.pts), p.is_keyframe, c) for p, c in zip(packets, carried, strict=True)]


def without(path: Path, lost: Iterable[int], target: Path) -> Path:
    """The file less some of its transport packets."""
    data, gone = path.read_bytes(), set(lost)
    kept = [data[at : at + _SIZE] for at in range(0, len(data), _SIZE) if at // _SIZE not in gone]
    target.write_bytes(b"".join(kept))
    return target
