"""Writes small video files whose frames show their own number."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

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
    title: bytes = b"",
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
        title: of the container, in any encoding.
        turn: degrees counter-clockwise and horizontal flip of the display matrix.
        mux: options of the container.
        form: FFmpeg's name of the container.
        sound: seconds of sound, in a stream before the video; 0 writes none.
        target: a file-like object to write to in place of `path`.
    """
    placeholder = bytes(65 + i for i in range(len(title)))
    with av.open(target or str(path), "w", format=form, container_options=mux or {}) as out:
        if title:
            out.metadata["title"] = placeholder.decode()
        audio = out.add_stream("aac", rate=16000, layout="mono") if sound else None
        if options is None:
            options = x264() if codec == "libx264" else {}
        stream = out.add_stream(codec, rate=RATE, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.gop_size = gop
        stream.codec_context.thread_count = 1
        if stamps is not None:
            stream.codec_context.time_base = _MS
        if audio is not None:
            tone(out, audio, sound)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(i, *size), format="rgb24").reformat(format=pix_fmt)
            if stamps is not None:
                frame.pts, frame.time_base = stamps[i], _MS
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    if title:  # PyAV itself writes UTF-8 only
        path.write_bytes(path.read_bytes().replace(placeholder, title))
    if turn is not None:
        _turn(path, *turn)
    return path


def _turn(path: Path, degrees: int, flip: bool) -> None:
    """Writes the display matrix of an MP4, which PyAV before 17.1 cannot."""
    data = bytearray(path.read_bytes())
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[degrees // 90]
    a, b, c, d = (-cos if flip else cos), -sin, (-sin if flip else sin), cos
    matrix = [value << 16 for value in (a, b, 0, c, d, 0, 0, 0)] + [1 << 30]
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, *matrix)
    path.write_bytes(data)


def tone(out: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    """Muxes a quiet tone of 16 kHz samples."""
    for start in range(0, int(16000 * seconds), 1024):
        wave = 0.1 * np.sin(np.arange(start, start + 1024, dtype=np.float32)[None] / 9)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def x264(**options: object) -> dict[str, str]:
    """Options of the encoder: x264's own names, keyframes at regular places only."""
    # Without cpu-independent, equal pictures give now and then other bits (its rate control reads unset memory).
    text = ":".join(f"{name}={value}" for name, value in {"cpu-independent": 1, "scenecut": 0, **options}.items())
    return {"x264-params": text, "preset": "veryfast"}
