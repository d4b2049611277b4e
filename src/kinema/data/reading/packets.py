"""The compressed packets of a video stream, in the order in which they are stored, which is the order of decoding."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from statistics import median

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from kinema.data.reading.bitstream import frames_in, h264_starts_clean, is_b_vop, needs_first_packet
from kinema.data.reading.container import open_video_stream
from kinema.errors import UnreadableVideo

NO_STAMP = int(np.iinfo(np.int64).min)

# Codecs of which it is known that a key packet forgets all that was before, and how many frames a packet shows.
# fmt: off
KNOWN_CODECS = frozenset((
    "h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mpeg1video", "mpeg2video", "h263", "flv1",
    "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "mjpeg", "png", "ffv1", "prores", "dnxhd",
    "huffyuv", "ffvhuff", "utvideo", "dvvideo", "rawvideo", "qtrle",
))
# fmt: on


class Packets:
    """One demuxing pass over a file: what is stored, without decoding any of it.

    Packets are known by their `serial`, their place in decoding order, and carry it as their time stamp when they are
    handed out, so that a decoded frame tells which packet it came from however the file stamps its frames.

    Args:
        path: the file.
        memory: bytes; a stream that is smaller stays in memory, so that going back to a keyframe needs no seek in the
            container and works for containers that cannot seek. A larger stream is read from the file again.

    Attributes:
        decoder: the stream's codec context, not yet opened.
        codec: FFmpeg's canonical name.
        size: width and height of the stored picture, pixels.
        has_audio: whether a sound stream lies beside.
        unit: seconds of one tick of the stamps.
        reorder: frames that the decoder may hold back to put them in order.
        progressive: whether the stream is known to be free of interlaced pictures.
        pts, dts: int64 per packet, `NO_STAMP` where the file has none.
        clean: bool per packet: decoding may start here.
        hidden: bool per packet: shows no frame (alternate references, frames that an edit list cuts off).
        certain: whether every packet is known to show one frame, or none where `hidden`.
        corrupt: serials of packets that the container knows to be damaged.
        missing: packets that the container's own table lists but the file does not hold (it is cut off).
        primer: the first packet is needed by all later ones.

    Raises:
        UnreadableVideo: the file cannot be opened, or holds no video.
    """

    def __init__(self, path: Path, memory: int) -> None:
        self.path = path
        self._container, self._stream = open_video_stream(path)
        stream = self._stream
        self.decoder: VideoCodecContext = stream.codec_context
        self.codec: str = self.decoder.codec.canonical_name
        self.size = (self.decoder.width, self.decoder.height)
        self.has_audio = bool(self._container.streams.audio)
        self.unit = float(stream.time_base or Fraction(1, 1000))
        self.reorder = self.decoder.reorder_depth
        self.progressive = self.decoder.field_order == 1
        self._held: list[av.Packet] | None = []
        self._identities: list[tuple[int | None, int | None, int]] = []
        self.corrupt: set[int] = set()
        self.missing = 0
        self.primer = False
        try:
            self._scan(memory)
        except Exception:
            self.close()
            raise

    def _scan(self, memory: int) -> None:
        known, is_h264 = self.codec in KNOWN_CODECS, self.codec == "h264"
        looks_inside = self.codec in ("vp8", "vp9", "mpeg4")
        extradata = self.decoder.extradata
        identities, clean, hidden = self._identities, list[bool](), list[bool]()
        self._durations: list[int | None] = []
        empty = total = 0
        self.certain = known
        if self.codec == "mpeg4":
            self.reorder = 0  # its header speaks of frames held back even where none are
        for packet in self._demux():
            size = packet.size
            if not size:  # the end, or the empty chunk of a dropped frame, which a decoder would take for the end
                empty += packet.dts is not None
                continue
            if packet.is_corrupt:
                self.corrupt.add(len(clean))
            if looks_inside:
                data = bytes(packet)
                shown = frames_in(self.codec, data)
                if self.codec == "mpeg4" and is_b_vop(data):
                    self.reorder = 1
                self.certain = self.certain and shown in (0, 1)
                hidden.append(shown == 0 or packet.is_discard)
            else:
                hidden.append(packet.is_discard)
            key = known and packet.is_keyframe
            clean.append(h264_starts_clean(_head(packet), extradata) if key and is_h264 else key)
            if not identities:
                self.primer = needs_first_packet(self.codec, _head(packet))
            identities.append((packet.pts, packet.dts, size))
            self._durations.append(packet.duration)
            total += size
            if self._held is not None:
                self._held.append(packet)
                if total > memory:
                    self._held = None
        if not clean:
            raise UnreadableVideo(self.path, "its video stream holds no frame: record it again")
        if self._container.format.name.startswith("mov"):  # the one family whose table stands apart from the frames
            self.missing = max(0, len(self._stream.index_entries) - empty - len(clean))
        self.pts = np.array([NO_STAMP if pts is None else pts for pts, _, _ in identities], np.int64)
        self.dts = np.array([NO_STAMP if dts is None else dts for _, dts, _ in identities], np.int64)
        self.clean, self.hidden = np.array(clean), np.array(hidden)
        self._rate = self._stream.guessed_rate or self._stream.average_rate or 25

    @property
    def period(self) -> float:
        """Seconds from frame to frame by what the file declares; for streams without usable stamps."""
        stored = [duration for duration in self._durations if duration and duration > 0]
        return median(stored) * self.unit if stored else 1 / float(self._rate)

    def __len__(self) -> int:
        return len(self.pts)

    def walk(self, start: int) -> Iterator[tuple[int, av.Packet]]:
        """The packets from serial `start` on, each with its serial."""
        if self._held is not None:
            packets: Iterator[tuple[int, av.Packet]] = enumerate(islice(self._held, start, None), start)
        else:
            packets = self._reread(start)
        for serial, packet in packets:
            packet.pts = serial
            yield serial, packet

    def _reread(self, start: int) -> Iterator[tuple[int, av.Packet]]:
        """The packets from `start` on, out of the file: by a seek, or from its beginning where that goes wrong."""
        for serial, packet in self._sought(start):
            if _identity(packet) != self._identities[serial]:
                break  # the container came back with other packets than in the first pass
            if serial == start:
                yield serial, packet
                start += 1
        if start == len(self):
            return
        self._container.close()
        self._container, self._stream = open_video_stream(self.path)
        stored = (packet for packet in self._demux() if packet.size)
        yield from islice(enumerate(stored), start, len(self))

    def _sought(self, start: int) -> Iterator[tuple[int, av.Packet]]:
        """Packets after a seek to `start`, the first at or before it; none if the container cannot do that."""
        stamp = int(self.dts[start] if self.dts[start] != NO_STAMP else self.pts[start])
        if start == 0 or stamp == NO_STAMP:
            return
        try:
            self._container.seek(stamp, stream=self._stream)
        except av.FFmpegError:
            return
        stored = (packet for packet in self._demux() if packet.size)
        first = next(stored, None)
        if first is None or self._identities.count(_identity(first)) != 1:
            return
        at = self._identities.index(_identity(first))
        if at <= start:
            yield at, first
            yield from islice(enumerate(stored, at + 1), len(self) - at - 1)

    def _demux(self) -> Iterator[av.Packet]:
        try:
            yield from self._container.demux(self._stream)
        except av.error.InvalidDataError:
            return  # damage in the container: the packets before it are usable
        except av.FFmpegError as error:
            raise UnreadableVideo(self.path, f"reading stopped within the file ({error.strerror})") from error

    def close(self) -> None:
        """Gives back the file and the memory."""
        self._container.close()
        self._held = []


def _identity(packet: av.Packet) -> tuple[int | None, int | None, int]:
    return packet.pts, packet.dts, packet.size


def _head(packet: av.Packet) -> bytes:
    """Enough of a packet to hold all that stands before the picture itself."""
    return bytes(memoryview(packet)[:4096])
