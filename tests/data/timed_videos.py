"""Videos whose frames are shown exactly as long as a test says, and long ones to damage."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from data.plain_videos import picture, x264

_TEXTURES = 64  # different pictures: as many numbers as `picture` can write into a frame


def write_timed(
    path: Path,
    edges: Sequence[float],
    *,
    codec: str = "libx264",
    gop: int = 12,
    size: tuple[int, int] = (96, 64),
    begin: float = 0.0,
    clock: int = 1000,
    mux: dict[str, str] | None = None,
) -> Path:
    """Encodes frame `i` to be shown from `edges[i]` to `edges[i + 1]`; it shows the number `i` modulo 64.

    Args:
        path: the file to write; its suffix chooses the container.
        edges: seconds, one more than frames.
        codec: FFmpeg's name of the encoder.
        gop: frames from one keyframe to the next.
        size: width and height, pixels.
        begin: seconds that are added to every stamp.
        clock: stamps per second.
        mux: options of the container.
    """
    stamps = [round((begin + edge) * clock) for edge in edges]
    ends = dict(pairwise(stamps))
    pictures = [picture(i, *size) for i in range(min(_TEXTURES, len(stamps) - 1))]
    with av.open(str(path), "w", options=mux or {}) as out:
        options = x264(bframes=0) if codec == "libx264" else {}
        stream = out.add_stream(codec, rate=30, options=options)
        stream.width, stream.height = size
        stream.pix_fmt, stream.gop_size = "yuv420p", gop
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, clock)

        def mux(packets: list[av.Packet]) -> None:
            for packet in packets:
                packet.duration = ends[packet.pts] - packet.pts
                out.mux(packet)

        for i, stamp in enumerate(stamps[:-1]):
            frame = av.VideoFrame.from_ndarray(pictures[i % _TEXTURES], format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, clock)
            mux(stream.encode(frame))
        mux(stream.encode(None))
    return path


def slides() -> list[float]:
    """Edges of 150 frames: at 0 s and 1 s, 30 per second from 2 s to 6 s, then one every 2 s to 60 s."""
    return [0, 1, *(2 + np.arange(120) / 30).tolist(), *range(6, 61, 2), 60 + 1 / 30]


def damage(film: Path, target: Path, frames: Sequence[int], lost: int = 400) -> Path:
    """A copy with bytes zeroed inside the packets of these frames (whose order is that of storing)."""
    with av.open(str(film)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(film.read_bytes())
    for frame in frames:
        at = places[frame][0] + places[frame][1] // 3
        data[at : at + lost] = bytes(lost)
    target.write_bytes(data)
    return target
