"""The compressed packets of a video stream, in the order in which they are stored, which is the order of decoding."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from itertools import islice
from pathlib import Path
from statistics import median

import av
import numpy as np
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

# Codecs of which it is known that a key packet forgets all that was before, and how many frames a packet shows.
# fmt: off
KNOWN_CODECS = frozenset((
    "h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mpeg1video", "mpeg2video", "h263", "flv1",
    "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "mjpeg", "png", "ffv1", "prores", "dnxhd",
    "huffyuv", "ffvhuff", "utvideo", "dvvideo", "rawvideo", "qtrle",
))
# fmt: on
_LOOKS_INSIDE = frozenset(("vp8", "vp9", "mpeg4"))  # what a packet shows is known from each packet's own bytes only
_KEYS_DIFFER = frozenset(("h264", "av1"))  # decoding may not start at each packet that a container calls a key
# Codecs of which decoders show what stands before the first keyframe, drawn from nothing. (H.264 leaves it away.)
_SHOWN_WITHOUT_START = frozenset(("hevc", "mpeg1video", "mpeg2video", "mpeg4"))
_HEAD = 4096  # bytes of a packet: enough to hold all that stands before the picture itself

Identity = tuple[int | None, int | None, int]  # pts, dts, bytes


class WrongTableError(Exception):
    """The packets that were read are not those that the file's own table announced."""


class Packets:
    """What a file stores, without decoding any of it.

    Packets are known by their `serial`, their place in decoding order, and carry it as their time stamp when they are
    handed out, so that a decoded frame tells which packet it came from however the file stamps its frames.

    What there is comes from the tables of an MP4 file where they suffice, else from one demuxing pass.

    Args:
        path: the file.
        memory: bytes; a demuxed stream that is smaller stays in memory, so that going back to a keyframe needs no seek
            in the container and works for containers that cannot seek. Other streams are read from the file again.

    Attributes:
        decoder: the stream's codec context, not yet opened.
        codec: FFmpeg's canonical name.
        size: width and height of the stored picture, pixels.
        has_audio: whether a sound stream lies beside.
        unit: seconds of one tick of the stamps.
        reorder: frames that the decoder may hold back to put them in order.
        progressive: whether the stream is known to be free of interlaced pictures.
        listed: whether the packets are known from the file's tables and not yet seen.
        pts, dts: int64 per packet, `NO_STAMP` where the file has none.
        clean: bool per packet: decoding may start here.
        hidden: bool per packet: shows no frame (alternate references, frames that an edit list cuts off).
        certain: whether every packet is known to show one frame, or none where `hidden`.
        damage: what the container knows to be lost.
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
        """Takes the packets from the file's tables, if these suffice."""
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
        """Takes the packets from a demuxing pass."""
        is_known, keys_differ = self.certain, self.codec in _KEYS_DIFFER
        looks_inside = self.codec in _LOOKS_INSIDE
        extradata = self.decoder.extradata
        identities, clean, hidden = list[Identity](), list[bool](), list[bool]()
        places, flagged, heads = list[int](), list[int](), list[bytes]()
        empty = total = 0
        anchor = NO_STAMP
        if self.codec == "mpeg4":
            self.reorder = 0  # its header speaks of frames held back even where none are
        if self.listed:
            self._reopen()
        self.listed = False
        self._held = []
        for packet in self._demux():
            size = packet.size
            if not size:  # the end, or the empty chunk of a dropped frame, which a decoder would take for the end
                empty += packet.dts is not None
                continue
            if packet.is_corrupt:
                flagged.append(len(clean))
            # FFmpeg places only the first frame that begins in a unit of the container.
            places.append(packet.pos if packet.pos is not None else places[-1] if places else -1)
            heads.append(bytes(memoryview(packet)[:HEAD]))
            if looks_inside:
                data = bytes(packet)
                shown = frames_in(self.codec, data)
                if self.codec == "mpeg4":
                    if is_b_vop(data):
                        self.reorder = 1
                        # A B frame is shown before the last frame that is none, or the stamps are wrong.
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
            reason = f"it holds none of the {declared} frames that it declares" if declared else "it holds no frame"
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
        """How many packets the file says it has, as far as it says so; 0 if it is known to hold all of them."""
        entries = index_entries(self._stream) if self._is_mov() else None
        if entries is not None:
            return len(entries)
        if not is_truncated(self.path):
            return 0
        if self._container.format.name.startswith("matroska"):  # tells its duration only
            return round((self._container.duration or 0) / 1e6 * self._rate)
        return self._stream.frames

    def _is_mov(self) -> bool:
        return self._container.format.name.startswith("mov")

    @property
    def period(self) -> float:
        """Seconds from frame to frame by what the file declares; for streams without usable stamps."""
        stored = [duration for duration in self._durations if duration and duration > 0]
        return median(stored) * self.unit if stored else 1 / self._rate

    def length(self, serial: int) -> float:
        """Seconds for which the frame of a packet is shown, by what the file declares; 0 where it does not tell.

        Where packets are known from the file's tables, only the length of the last frame is known.
        """
        if self._durations:
            return max(0, self._durations[serial] or 0) * self.unit
        rest = (self._stream.duration or 0) - int(self.pts[serial] - self.pts.min())
        return max(0, rest) * self.unit if self.pts[serial] == self.pts.max() else 0.0

    def __len__(self) -> int:
        return len(self.pts)

    def walk(self, start: int) -> Iterator[tuple[int, av.Packet]]:
        """The packets from serial `start` on, each with its serial.

        Raises:
            WrongTableError: `listed` packets turn out to be others.
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
        """The packets from `start` on, out of the file: by a seek, or from its beginning where that goes wrong."""
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
        """Packets after a seek to `start`, the first at or before it; none if the container cannot do that."""
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
        """The serial of each packet, None where several look alike."""
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
            return  # damage in the container: the packets before it are usable
        except IndexError:
            return  # PyAV stumbles, behind the last packet, over streams that began within the file
        except av.FFmpegError as error:
            raise UnreadableVideo(self.path, f"reading stopped inside the file ({error.strerror})") from error

    def close(self) -> None:
        """Gives back the file and the memory."""
        self._container.close()
        self._held = []


def _identity(packet: av.Packet) -> Identity:
    return packet.pts, packet.dts, packet.size


def _shortened(packet: av.Packet, length: int) -> av.Packet:
    short = av.Packet(bytes(packet)[:length])
    short.dts, short.is_keyframe = packet.dts, packet.is_keyframe
    return short


def _head(packet: av.Packet) -> bytes:
    return bytes(memoryview(packet)[:_HEAD])
