"""The compressed packets of a video stream, in storage order, which is also decoding order."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from itertools import islice
from pathlib import Path
from statistics import median

import av
import numpy as np
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext

from kinema.data.reading.bitstream import frames_in, is_b_vop, needs_first_packet, starts_clean
from kinema.data.reading.boxes import is_truncated, why_truncated
from kinema.data.reading.container import open_video_stream
from kinema.data.reading.damage import HEAD, Damage, locate
from kinema.data.reading.progress import beat
from kinema.data.reading.pyav import canonical_name, index_entries, progressive, reorder_depth
from kinema.data.reading.sample_table import read_sample_table
from kinema.errors import UnreadableVideo

NO_STAMP = int(np.iinfo(np.int64).min)

# Codecs whose key packets are known to reset the decoder, and the number of frames per packet.
# fmt: off
KNOWN_CODECS = frozenset((
    "h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mpeg1video", "mpeg2video", "h263", "flv1",
    "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "mjpeg", "png", "ffv1", "prores", "dnxhd",
    "huffyuv", "ffvhuff", "utvideo", "dvvideo", "rawvideo", "qtrle",
))
# fmt: on
_LOOKS_INSIDE = frozenset(("vp8", "vp9", "mpeg4"))  # only the packet's own bytes tell which frames it shows
_KEYS_DIFFER = frozenset(("h264", "av1"))  # decoding cannot start at every packet that a container flags as a keyframe
# Codecs whose decoders show frames before the first keyframe, without a reference. (H.264 decoders drop them.)
_SHOWN_WITHOUT_START = frozenset(("hevc", "mpeg1video", "mpeg2video", "mpeg4"))
_HEAD = 4096  # bytes of a packet: enough for all headers before the picture

Identity = tuple[int | None, int | None, int]  # pts, dts, bytes


class WrongTableError(Exception):
    """The packets that were read differ from those in the file's own table."""


class Packets:
    """The contents of a file, without decoding any of it.

    Packets are identified by their `serial`, their position in decoding order. When they are handed out, they carry it
    as their timestamp, so that a decoded frame shows which packet it came from, however the file stamps its frames.

    The list comes from the tables of an MP4 file if they suffice, else from one demuxing pass.

    Args:
        path: the file.
        memory: bytes. A demuxed stream that is smaller stays in memory, so that going back to a keyframe needs no seek
            in the container and works for containers that cannot seek. Larger streams are read from the file again.

    Attributes:
        decoder: the stream's codec context, not yet opened.
        codec: FFmpeg's canonical name.
        size: width and height of the stored picture, in pixels.
        has_audio: True if the file also has an audio stream.
        unit: seconds per tick of the timestamps.
        reorder: number of frames that the decoder may hold back to reorder them.
        progressive: True if the stream is known to contain no interlaced pictures.
        listed: True if the packets are known from the file's tables and have not been read yet.
        pts, dts: int64 per packet, `NO_STAMP` if the file has none.
        clean: bool per packet: decoding may start here.
        hidden: bool per packet: shows no frame (alternate references, frames that an edit list cuts off).
        certain: True if every packet is known to show one frame, or none if `hidden`.
        damage: losses that the container reports.
        missing: number of packets that are in the container's table but not in the file (it is cut off).
        primer: True if all later packets need the first one.

    Raises:
        UnreadableVideo: the file cannot be opened, or contains no video.
    """

    def __init__(self, path: Path, memory: int) -> None:
        self.path = path
        self._container, self._stream = open_video_stream(path)
        stream = self._stream
        self.decoder: VideoCodecContext = stream.codec_context
        self.codec: str = canonical_name(self.decoder)
        self.size = (self.decoder.width, self.decoder.height)
        self.has_audio = bool(self._container.streams.audio)
        self.unit = float(stream.time_base or Fraction(1, 1000))
        self.reorder = reorder_depth(self.decoder)
        self.progressive = progressive(self.decoder)
        self.certain = self.codec in KNOWN_CODECS
        self.damage = Damage()
        self.missing = 0
        self.primer = False
        self._memory = memory
        self._held: list[av.Packet] | None = None
        self._again: InputContainer | None = None  # from which `new_decoder` came
        self._identities: list[Identity] = []
        self._durations: list[int | None] = []
        self._rate = float(stream.guessed_rate or stream.average_rate or 25)
        try:
            self.listed = self._list()
            if not self.listed:
                self.scan()
        except Exception:
            self.close()
            raise

    def _list(self) -> bool:
        """Reads the packet list from the file's tables, if these suffice."""
        if not self._is_mov() or not self.certain or self.codec in _LOOKS_INSIDE:
            return False
        table = read_sample_table(self.path, self._stream)
        if table is None:
            return False
        self.pts, self.dts, self.clean = table.pts, table.dts, table.keys
        self.hidden = np.zeros(len(table.pts), bool)
        self._identities = list(zip(table.pts.tolist(), table.dts.tolist(), table.sizes.tolist(), strict=True))
        if self.codec in _KEYS_DIFFER:
            extradata = self.decoder.extradata
            with self.path.open("rb") as file:
                for serial in np.flatnonzero(table.keys).tolist():
                    file.seek(int(table.places[serial]))
                    head = file.read(min(_HEAD, int(table.sizes[serial])))
                    self.clean[serial] = starts_clean(self.codec, head, extradata)
                    if serial == 0:
                        self.primer = needs_first_packet(self.codec, head)
        return True

    def scan(self) -> None:
        """Reads the packet list by demuxing."""
        is_known, keys_differ = self.certain, self.codec in _KEYS_DIFFER
        looks_inside = self.codec in _LOOKS_INSIDE
        extradata = self.decoder.extradata
        identities, clean, hidden = list[Identity](), list[bool](), list[bool]()
        places, flagged, heads = list[int](), list[int](), list[bytes]()
        empty = total = 0
        anchor = NO_STAMP
        if self.codec == "mpeg4":
            self.reorder = 0  # its header states held-back frames even if there are none
        if self.listed:
            self._reopen()
        self.listed = False
        self._held = []
        for packet in self._demux():
            size = packet.size
            if not size:  # the end, or an empty chunk of a dropped frame, which would end decoding
                empty += packet.dts is not None
                continue
            if packet.is_corrupt:
                flagged.append(len(clean))
            # FFmpeg gives a position only for the first frame that begins in a unit of the container.
            places.append(packet.pos if packet.pos is not None else places[-1] if places else -1)
            heads.append(bytes(memoryview(packet)[:HEAD]))
            if looks_inside:
                data = bytes(packet)
                shown = frames_in(self.codec, data)
                if self.codec == "mpeg4":
                    if is_b_vop(data):
                        self.reorder = 1
                        # A B frame is shown before the last frame of another type; otherwise the stamps are wrong.
                        self.certain = self.certain and (packet.pts is None or packet.pts < anchor)
                    elif packet.pts is not None:
                        anchor = packet.pts
                self.certain = self.certain and shown in (0, 1)
                hidden.append(shown == 0 or packet.is_discard)
            else:
                hidden.append(packet.is_discard)
            key = is_known and packet.is_keyframe
            clean.append(starts_clean(self.codec, _head(packet), extradata) if key and keys_differ else key)
            if not identities:
                self.primer = needs_first_packet(self.codec, _head(packet))
            identities.append((packet.pts, packet.dts, size))
            self._durations.append(packet.duration)
            total += size
            if self._held is not None:
                self._held.append(packet)
                if total > self._memory:
                    self._held = None
        if not clean:
            declared = max(self._stream.frames, empty)
            reason = f"it contains none of the {declared} frames it declares" if declared else "it contains no frame"
            missing = why_truncated(self.path)
            reason = f"{reason}, because {missing}" if missing else reason
            raise UnreadableVideo(self.path, f"{reason}: copy, download or record it again")
        self.missing = max(0, self._declared() - empty - len(clean))
        self.damage = locate(self.path, self._stream, places, [size for _, _, size in identities], flagged, heads)
        self._identities = identities
        vars(self).pop("_places", None)
        self.pts = np.array([NO_STAMP if pts is None else pts for pts, _, _ in identities], np.int64)
        self.dts = np.array([NO_STAMP if dts is None else dts for _, dts, _ in identities], np.int64)
        self.clean, self.hidden = np.array(clean), np.array(hidden)
        if self.codec in _SHOWN_WITHOUT_START and not self.clean[0] and self.clean.any():
            self.damage.add(0)

    def _declared(self) -> int:
        """Returns the number of packets that the file states, if any; 0 if the file is known to contain all of them."""
        entries = index_entries(self._stream) if self._is_mov() else None
        if entries is not None:
            return len(entries)
        if not is_truncated(self.path):
            return 0
        if self._container.format.name.startswith("matroska"):  # states only its duration
            return round((self._container.duration or 0) / 1e6 * self._rate)
        return self._stream.frames

    def _is_mov(self) -> bool:
        return self._container.format.name.startswith("mov")

    @property
    def period(self) -> float:
        """Returns the time between frames that the file states, in seconds; for streams without usable timestamps."""
        stored = [duration for duration in self._durations if duration and duration > 0]
        return median(stored) * self.unit if stored else 1 / self._rate

    def length(self, serial: int) -> float:
        """Returns for how many seconds the frame of a packet is shown, as the file states it; 0 if it does not.

        If packets are known from the file's tables, only the length of the last frame is known.
        """
        if self._durations:
            return max(0, self._durations[serial] or 0) * self.unit
        rest = (self._stream.duration or 0) - int(self.pts[serial] - self.pts.min())
        return max(0, rest) * self.unit if self.pts[serial] == self.pts.max() else 0.0

    def __len__(self) -> int:
        return len(self.pts)

    def walk(self, start: int) -> Iterator[tuple[int, av.Packet]]:
        """Yields the packets from serial `start`, each with its serial.

        Raises:
            WrongTableError: the packets differ from those that were `listed`.
        """
        if self._held is not None:
            packets: Iterator[tuple[int, av.Packet]] = enumerate(islice(self._held, start, None), start)
        else:
            packets = self._reread(start)
        for serial, packet in packets:
            if serial in self.damage.lengths:
                packet = _shortened(packet, self.damage.lengths[serial])
            packet.pts = serial
            yield serial, packet

    def _reread(self, start: int) -> Iterator[tuple[int, av.Packet]]:
        """Yields the packets from `start` from the file: after a seek, or from its beginning if the seek fails."""
        for source in (self._sought, self._from_beginning):
            for serial, packet in source(start):
                if _identity(packet) != self._identities[serial]:
                    break
                if serial == start:
                    yield serial, packet
                    start += 1
            if start == len(self):
                return
        if self.listed:
            raise WrongTableError

    def _sought(self, start: int) -> Iterator[tuple[int, av.Packet]]:
        """Yields packets after a seek to `start`, the first one at or before it; none if the container cannot seek."""
        stamp = int(self.dts[start] if self.dts[start] != NO_STAMP else self.pts[start])
        if stamp == NO_STAMP:
            return
        try:
            self._container.seek(stamp, stream=self._stream)
        except av.FFmpegError:
            return
        stored = (packet for packet in self._demux() if packet.size)
        first = next(stored, None)
        at = None if first is None else self._places.get(_identity(first))
        if first is not None and at is not None and at <= start:
            yield at, first
            yield from islice(enumerate(stored, at + 1), len(self) - at - 1)

    @cached_property
    def _places(self) -> dict[Identity, int | None]:
        """Returns the serial of each packet, None if several look the same."""
        places: dict[Identity, int | None] = {}
        for serial, identity in enumerate(self._identities):
            places[identity] = None if identity in places else serial
        return places

    def _from_beginning(self, start: int) -> Iterator[tuple[int, av.Packet]]:
        self._reopen()
        stored = (packet for packet in self._demux() if packet.size)
        yield from islice(enumerate(stored), start, len(self))

    def _reopen(self) -> None:
        self._container.close()
        self._container, self._stream = open_video_stream(self.path)

    def _demux(self) -> Iterator[av.Packet]:
        try:
            for packet in self._container.demux(self._stream):
                beat()
                yield packet
        except av.error.InvalidDataError:
            return  # damage in the container: the packets before it can be used
        except IndexError:
            return  # after the last packet, PyAV fails for streams that began within the file
        except av.FFmpegError as error:
            raise UnreadableVideo(self.path, f"reading stopped inside the file ({error.strerror})") from error

    def new_decoder(self) -> VideoCodecContext:
        """Returns another codec context of the stream, which has decoded nothing.

        Raises:
            UnreadableVideo: the file cannot be opened any more.
        """
        if self._again is not None:
            self._again.close()
        self._again, stream = open_video_stream(self.path)
        context: VideoCodecContext = stream.codec_context
        return context

    def close(self) -> None:
        """Closes the file and frees the memory."""
        self._container.close()
        if self._again is not None:
            self._again.close()
        self._held = []


def _identity(packet: av.Packet) -> Identity:
    return packet.pts, packet.dts, packet.size


def _shortened(packet: av.Packet, length: int) -> av.Packet:
    short = av.Packet(bytes(packet)[:length])
    short.dts, short.is_keyframe = packet.dts, packet.is_keyframe
    return short


def _head(packet: av.Packet) -> bytes:
    return bytes(memoryview(packet)[:_HEAD])
