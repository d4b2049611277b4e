"""Writes small odd and broken video files: `write_odd("rotated_90", folder)` gives the path of a new file.

`GOOD` lists the kinds whose frames can all be read, `BROKEN` those from which a reader must refuse something. Every
frame shows its own number as a row of light and dark squares (`frame_number` reads it back), over a moving texture.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags

FRAMES = 40
WIDTH, HEIGHT = 96, 64
RATE = 25
_BITS = 6
_MS = Fraction(1, 1000)


def picture(i: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Frame `i`, uint8 [height, width, 3]: a moving texture, and below it the number `i` in six squares."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    waves = [np.sin(x / 7 + i / 3), np.sin(y / 5 - i / 4), np.sin((x + y) / 9 + i / 2)]
    grain = np.random.default_rng(i).normal(0, 6, (height, width, 3))
    frame = np.clip(128 + 90 * np.stack(waves, -1) + grain, 0, 255).astype(np.uint8)
    cell, top = width // _BITS, height - height // 4
    for bit in range(_BITS):
        frame[top:, bit * cell : (bit + 1) * cell] = 235 if i >> bit & 1 else 20
    return frame


def frame_number(frame: np.ndarray) -> int:
    """The number that `picture` wrote into a frame, uint8 [H, W, 3]."""
    height, width = frame.shape[:2]
    cell, row = width // _BITS, height - height // 8
    return sum(int(frame[row, bit * cell + cell // 2].mean() > 128) << bit for bit in range(_BITS))


def write_video(
    path: Path,
    codec: str = "libx264",
    *,
    frames: int = FRAMES,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pix_fmt: str = "yuv420p",
    gop: int = 12,
    options: dict[str, str] | None = None,
    stamps: Sequence[int] | None = None,
    metadata: dict[str, str] | None = None,
    encoding: str = "utf-8",
    turn: tuple[int, bool] | None = None,
    mux: dict[str, str] | None = None,
    form: str | None = None,
    sound: float = 0.0,
    target: Any = None,
) -> Path:
    """Encodes `picture(0)`, `picture(1)`, ... into `path`.

    Args:
        path: the file to write; its suffix chooses the container unless `form` names it.
        codec: FFmpeg's name of the encoder.
        frames: how many.
        size: width and height, pixels.
        pix_fmt: of the encoded picture.
        gop: frames from one keyframe to the next.
        options: of the encoder.
        stamps: presentation times in milliseconds; by default 25 a second.
        metadata: of the container, written in `encoding`.
        encoding: of the metadata.
        turn: degrees counter-clockwise and horizontal flip of the display matrix.
        mux: options of the container.
        form: FFmpeg's name of the container.
        sound: seconds of sound, in a stream before the video; 0 writes none.
        target: a file-like object to write to in place of `path`.
    """
    with av.open(target or str(path), "w", format=form, container_options=mux or {}, metadata_encoding=encoding) as out:
        out.metadata.update(metadata or {})
        audio = out.add_stream("aac", rate=16000, layout="mono") if sound else None
        stream = out.add_stream(codec, rate=RATE, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.gop_size = gop
        stream.codec_context.thread_count = 1
        if stamps is not None:
            stream.codec_context.time_base = _MS
        if turn is not None:
            stream.set_display_rotation(turn[0], hflip=turn[1])
        if audio is not None:
            tone(out, audio, sound)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(i, *size), format="rgb24").reformat(format=pix_fmt)
            if stamps is not None:
                frame.pts, frame.time_base = stamps[i], _MS
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def tone(out: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    """Muxes a quiet tone of 16 kHz samples."""
    for start in range(0, int(16000 * seconds), 1024):
        wave = 0.1 * np.sin(np.arange(start, start + 1024, dtype=np.float32)[None] / 9)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


class _Pipe:
    """A file object that cannot seek: the container cannot go back to write the frame count, duration or index."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()


def _x264(**options: object) -> dict[str, str]:
    text = ":".join(f"{name}={value}" for name, value in {"scenecut": 0, **options}.items())
    return {"x264-params": text, "preset": "veryfast"}


_B = {"bf": "2", "b_strategy": "0", "qscale": "3"}
_STAMPS = np.cumsum([0, *np.random.default_rng(7).choice([20, 33, 40, 100, 250], FRAMES - 1)]).tolist()


def _pipe(path: Path) -> Path:
    pipe = _Pipe(path)
    write_video(path, target=pipe, form="matroska")
    pipe.close()
    return path


def _edited(path: Path) -> Path:
    """Moves the edit list's start ten frames on: the file still holds them, a player does not show them."""
    write_video(path, mux={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4  # version and flags, number of entries, then duration, media time, rate
    duration, start = struct.unpack_from(">Ii", data, at + 8)
    scale = struct.unpack_from(">I", data, data.index(b"mdhd") + 4 + 12)[0]
    movie = struct.unpack_from(">I", data, data.index(b"mvhd") + 4 + 12)[0]
    struct.pack_into(">Ii", data, at + 8, duration - 10 * movie // RATE, start + 10 * scale // RATE)
    path.write_bytes(data)
    return path


def _cut_start(path: Path) -> Path:
    """A transport stream of which the first third is gone, as when one tunes in: it starts between keyframes."""
    write_video(path, options=_x264(**{"open-gop": 1, "bframes": 3, "keyint": 12, "min-keyint": 12}))
    data = path.read_bytes()
    path.write_bytes(data[: 188 * 3] + data[len(data) // 3 // 188 * 188 :])  # keeps the tables at its head
    return path


def _packed(path: Path) -> Path:
    """MPEG-4 as DivX wrote it into AVI: a P and the B frame before it in one chunk, then a chunk that says "skip"."""
    chunks: list[bytes] = []
    encoder = av.CodecContext.create("mpeg4", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.gop_size = WIDTH, HEIGHT, "yuv420p", 12
    encoder.time_base, encoder.framerate, encoder.thread_count = Fraction(1, RATE), Fraction(RATE), 1
    encoder.options = {"bf": "1", "b_strategy": "0", "qscale": "3"}
    for i in range(FRAMES):
        frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24").reformat(format="yuv420p")
        frame.pts = i
        chunks += [bytes(packet) for packet in encoder.encode(frame)]
    chunks += [bytes(packet) for packet in encoder.encode(None)]
    start = b"\x00\x00\x01\xb6"
    kind = [chunk[chunk.index(start) + 4] >> 6 for chunk in chunks]  # 0 is I, 1 is P, 2 is B
    packed: list[bytes] = []
    i = 0
    while i < len(chunks):
        if i + 1 < len(chunks) and kind[i + 1] == 2:
            packed += [chunks[i] + chunks[i + 1], start + b"\x50\x00\x7f"]
            i += 2
        else:
            packed.append(chunks[i])
            i += 1
    at = packed[0].index(start)
    packed[0] = packed[0][:at] + b"\x00\x00\x01\xb2DivX503b1393p" + packed[0][at:]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i, chunk in enumerate(packed):
            packet = av.Packet(chunk)
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, RATE), i, i
            packet.is_keyframe = chunk[chunk.index(start) + 4] >> 6 == 0
            out.mux(packet)
    return path


GOOD: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "h264": (".mp4", lambda p: write_video(p)),
    "one_gop": (".mp4", lambda p: write_video(p, gop=250)),
    "no_b_frames": (".mp4", lambda p: write_video(p, options=_x264(bframes=0))),
    "single_frame": (".mp4", lambda p: write_video(p, frames=1)),
    "many_b_frames": (".mp4", lambda p: write_video(p, options=_x264(bframes=8, b_pyramid="normal", **{"b-adapt": 0}))),
    "variable_rate": (".mp4", lambda p: write_video(p, stamps=_STAMPS)),
    "variable_rate_mkv": (".mkv", lambda p: write_video(p, stamps=_STAMPS)),
    "rotated_90": (".mp4", lambda p: write_video(p, turn=(90, False))),
    "rotated_180": (".mov", lambda p: write_video(p, turn=(180, False))),
    "rotated_270": (".mp4", lambda p: write_video(p, turn=(270, False))),
    "mirrored": (".mp4", lambda p: write_video(p, turn=(0, True))),
    "odd_size": (".mp4", lambda p: write_video(p, "mpeg4", size=(97, 61))),
    "odd_size_vp9": (".webm", lambda p: write_video(p, "libvpx-vp9", size=(61, 97))),
    "latin1_metadata": (".avi", lambda p: write_video(p, "mpeg4", metadata={"title": "Müßiggang"}, encoding="latin-1")),
    "no_count": (".mkv", _pipe),
    "fragmented": (".mp4", lambda p: write_video(p, mux={"movflags": "frag_keyframe+empty_moov"})),
    "alpha_vp9": (".webm", lambda p: write_video(p, "libvpx-vp9", pix_fmt="yuva420p", options={"auto-alt-ref": "0"})),
    "alpha_png": (".mov", lambda p: write_video(p, "png", pix_fmt="rgba")),
    "ten_bit": (".mp4", lambda p: write_video(p, pix_fmt="yuv420p10le")),
    "full_range_444": (".mp4", lambda p: write_video(p, pix_fmt="yuvj444p")),
    "late_start": (".mkv", lambda p: write_video(p, stamps=[5000 + 40 * i for i in range(FRAMES)])),
    "late_start_mp4": (".mp4", lambda p: write_video(p, stamps=[5000 + 40 * i for i in range(FRAMES)], sound=3)),
    "sound_first": (".mp4", lambda p: write_video(p, sound=2)),
    "edit_list": (".mp4", _edited),
    "open_gop": (".mp4", lambda p: write_video(p, options=_x264(**{"open-gop": 1, "bframes": 3, "keyint": 12}))),
    "open_gop_ts": (".ts", lambda p: write_video(p, options=_x264(**{"open-gop": 1, "bframes": 3, "keyint": 12}))),
    "intra_refresh": (".mp4", lambda p: write_video(p, options=_x264(**{"intra-refresh": 1, "keyint": 12}))),
    "interlaced": (".ts", lambda p: write_video(p, options=_x264(tff=1, keyint=12))),
    "cut_start": (".ts", _cut_start),
    "hevc_open_gop": (".mp4", lambda p: write_video(p, "libx265", options={"x265-params": "open-gop=1:keyint=12:log-level=none"})),
    "raw_h264": (".h264", lambda p: write_video(p)),
    "raw_h264_b": (".h264", lambda p: write_video(p, options=_x264(bframes=3))),
    "h264_avi": (".avi", lambda p: write_video(p, options=_x264(bframes=3))),
    "mpeg4_avi": (".avi", lambda p: write_video(p, "mpeg4", options={"qscale": "3"})),
    "mpeg4_avi_b": (".avi", lambda p: write_video(p, "mpeg4", options=_B)),
    "mpeg4_packed": (".avi", _packed),
    "mpeg4_mp4_b": (".mp4", lambda p: write_video(p, "mpeg4", options=_B)),
    "msmpeg4": (".avi", lambda p: write_video(p, "msmpeg4", options={"qscale": "3"})),
    "wmv": (".wmv", lambda p: write_video(p, "wmv2")),
    "flv": (".flv", lambda p: write_video(p, "flv")),
    "mpeg2_ps": (".mpg", lambda p: write_video(p, "mpeg2video", options=_B)),
    "mpeg2_ts": (".ts", lambda p: write_video(p, "mpeg2video", options=_B)),
    "vp8_hidden": (".webm", lambda p: write_video(p, "libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "16"})),
    "vp9_hidden": (".webm", lambda p: write_video(p, "libvpx-vp9", options={"auto-alt-ref": "1", "lag-in-frames": "16"})),
    "av1": (".mp4", lambda p: write_video(p, "libsvtav1", options={"preset": "12", "svtav1-params": "keyint=12"})),
    "mjpeg": (".avi", lambda p: write_video(p, "mjpeg", pix_fmt="yuvj420p")),
    "ffv1": (".mkv", lambda p: write_video(p, "ffv1")),
    "gif": (".gif", lambda p: write_video(p, "gif", pix_fmt="rgb8")),
    "qtrle": (".mov", lambda p: write_video(p, "qtrle", pix_fmt="rgb24")),
    "cinepak": (".avi", lambda p: write_video(p, "cinepak", pix_fmt="rgb24", frames=14)),
}
def write_odd(kind: str, folder: Path) -> Path:
    suffix, write = GOOD[kind]
    path=folder/f"{kind}{suffix}"
    return write(path)
