"""Odd and broken files around ordinary streams: pipes, edit lists, tables without stamps, cuts, noise, no picture."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from data.plain_videos import HEIGHT, RATE, WIDTH, picture, tone, write_video, x264
from PIL import Image


class _Pipe:
    """A file object that cannot seek: the container cannot go back to write the frame count, duration or index."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()


def piped(path: Path) -> Path:
    pipe = _Pipe(path)
    write_video(path, target=pipe, form="matroska")
    pipe.close()
    return path


def edited(path: Path) -> Path:
    """Moves the edit list's start ten frames on: the file still holds them, a player does not show them."""
    write_video(path, mux={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    at = _entries(data, b"elst")
    duration, start = struct.unpack_from(">Ii", data, at)
    scale = struct.unpack_from(">I", data, data.index(b"mdhd") + 4 + 12)[0]
    movie = struct.unpack_from(">I", data, data.index(b"mvhd") + 4 + 12)[0]
    struct.pack_into(">Ii", data, at, duration - 10 * movie // RATE, start + 10 * scale // RATE)
    path.write_bytes(data)
    return path


def cut_start(path: Path) -> Path:
    """A transport stream of which the first third is gone, as when one tunes in: it starts between keyframes."""
    write_video(path, options=x264(**{"open-gop": 1, "bframes": 3, "keyint": 12, "min-keyint": 12}))
    data = path.read_bytes()
    path.write_bytes(data[: 188 * 3] + data[len(data) // 3 // 188 * 188 :])  # keeps the tables at its head
    return path


def _entries(data: bytearray, name: bytes) -> int:
    """Where the entries of an MP4 table begin, behind version, flags and their number."""
    return data.index(name) + 12


def late_stream(path: Path) -> Path:
    """A transport stream in which a second stream begins behind the last picture."""
    data = write_video(path).read_bytes()
    packets = [bytearray(data[at : at + 188]) for at in range(0, len(data), 188)]
    video = [packet for packet in packets if packet[1] & 0x1F == 1 and packet[2] == 0]
    for packet in video[:8]:
        packet[1] = packet[1] & 0xE0 | 2
    path.write_bytes(data + b"".join(video[:8]))
    return path


def no_stamps(path: Path) -> Path:
    """An MP4 whose tables give every frame the time 0, as a muxer writes that was handed no stamps."""
    write_video(path)
    data = bytearray(path.read_bytes())
    for name in (b"stts", b"ctts"):
        at = _entries(data, name)
        for entry in range(struct.unpack_from(">I", data, at - 4)[0]):
            struct.pack_into(">I", data, at + 8 * entry + 4, 0)
    struct.pack_into(">I", data, _entries(data, b"elst") + 4, 0)
    path.write_bytes(data)
    return path


def size_change(path: Path) -> Path:
    """A raw stream whose pictures become larger after 40 frames."""
    small = write_video(path).read_bytes()
    large = write_video(path, size=(2 * WIDTH, HEIGHT), frames=20).read_bytes()
    path.write_bytes(small + large)
    return path


def cut_off(path: Path) -> Path:
    """An MP4 with its table of frames in front, of which the second half is gone."""
    data = write_video(path, mux={"movflags": "faststart"}).read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2])
    return path


def no_table(path: Path) -> Path:
    """An MP4 with its table of frames at the end, cut off in the middle."""
    data = write_video(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def damaged(path: Path) -> Path:
    """An MP4 with noise in place of the packets 15 to 17, within its second group of pictures."""
    write_video(path, options=x264(bframes=0))
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for packet in packets[15:18]:
        noise = np.random.default_rng(packet.pos).integers(0, 256, packet.size, np.uint8)
        data[packet.pos : packet.pos + packet.size] = noise.tobytes()
    path.write_bytes(data)
    return path


def audio_only(path: Path) -> Path:
    with av.open(str(path), "w") as out:
        tone(out, out.add_stream("aac", rate=16000, layout="mono"), 1)
    return path


def audio_with_cover(path: Path) -> Path:
    """Sound with a picture in an ID3 tag, which FFmpeg gives as a video stream of one frame."""
    with av.open(str(path), "w", format="mp3") as out:
        tone(out, out.add_stream("mp3", rate=16000, layout="mono"), 1)
    cover = BytesIO()
    Image.fromarray(picture(0)).save(cover, format="JPEG")
    body = b"\0image/jpeg\0\3\0" + cover.getvalue()
    frame = b"APIC" + struct.pack(">IH", len(body), 0) + body
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    sound = path.read_bytes()
    if sound.startswith(b"ID3"):
        sound = sound[10 + sum((sound[6 + i] & 127) << (21 - 7 * i) for i in range(4)) :]
    path.write_bytes(b"ID3\3\0\0" + size + frame + sound)
    return path


def text_file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
