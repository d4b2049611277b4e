"""Which packets of a file are damaged, as far as its container can tell."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import av
from av.video.stream import VideoStream

from kinema.data.reading.bitstream import begins_frame
from kinema.data.reading.pyav import canonical_name, open_input
from kinema.data.reading.transport import Loss, first_loss

_CHUNK = re.compile(rb"[0-9]{2}(?:d[bc]|wb|tx|pc|sb)|ix[0-9]{2}|JUNK|idx1")
HEAD = 16  # bytes of a packet by which it is told from another
_UNPARSED = ("mov", "matroska")  # containers whose packets are frames already


@dataclass
class Damage:
    """What is lost of a stream.

    Attributes:
        packets: ascending serials of damaged packets.
        gaps: ascending serials of intact packets after which something is lost.
        lengths: bytes that belong to a packet, for packets that hold a part of a later, lost one behind them.
    """

    packets: list[int] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)
    lengths: dict[int, int] = field(default_factory=dict)

    def add(self, serial: int) -> None:
        """Notes a damaged packet."""
        if not self.has(serial):
            insort(self.packets, serial)

    def part(self, serial: int) -> None:
        """Notes that something is lost after a packet."""
        if not self.breaks(serial, serial + 1):
            insort(self.gaps, serial)

    def has(self, serial: int) -> bool:
        """Whether a packet is damaged."""
        return bool(self.within(serial, serial))

    def within(self, first: int, last: int) -> list[int]:
        """The damaged packets from `first` to `last`, both included."""
        return self.packets[bisect_left(self.packets, first) : bisect_right(self.packets, last)]

    def breaks(self, first: int, last: int) -> bool:
        """Whether something is lost between packet `first` and packet `last`."""
        at = bisect_left(self.gaps, first)
        return at < len(self.gaps) and self.gaps[at] < last

    def copy(self, without: Container[int] = ()) -> Damage:
        """A copy to which more can be added, less some packets."""
        packets = [serial for serial in self.packets if serial not in without]
        return Damage(packets, list(self.gaps), dict(self.lengths))


def locate(
    path: Path,
    stream: VideoStream,
    places: Sequence[int],
    sizes: Sequence[int],
    flagged: list[int],
    heads: Sequence[bytes],
) -> Damage:
    """Finds the packets to which the damage belongs that a container reports.

    FFmpeg cuts the units of some containers into frames with a parser. The parser gives frame N - 1 when it is fed the
    beginning of frame N, and FFmpeg puts on frame N - 1 the flag of what it just fed, or drops the flag if the parser
    gives nothing. Therefore the file is demuxed once more without the parser, and damage is assigned by the places in
    the file. Transport streams, which are the ones that report losses, are always demuxed twice (0.18 s beside 0.49 s
    for 150 MB), other containers only if a packet is flagged.

    Args:
        path: the file.
        stream: the opened stream.
        places: per packet, where in the file the unit begins in which the packet begins.
        sizes: per packet, bytes.
        flagged: ascending serials of packets that FFmpeg calls corrupt.
        heads: per packet, its first bytes (`HEAD` of them).

    Raises:
        OSError: the file cannot be read.
    """
    name = stream.container.format.name
    if name == "avi" and not flagged and stream.frames > len(places):
        return Damage(gaps=_torn_chunks(path, places, sizes))
    if name.startswith(_UNPARSED) or not (flagged or name == "mpegts"):
        return Damage(flagged)
    units = _units(path, stream)
    if not flagged and not any(unit.corrupt for unit in units):
        return Damage()
    if not {unit.place for unit in units} >= set(places) or list(places) != sorted(places):
        return Damage(sorted({near for serial in flagged for near in (serial, serial + 1) if near < len(places)}))
    damage = Damage()
    for unit, following in zip_longest(units, units[1:]):
        if unit.corrupt:
            begun = range(bisect_left(places, unit.place), bisect_right(places, unit.place))
            end = following.place if following else None
            loss = first_loss(path, unit.place, end) if name == "mpegts" else None
            # FFmpeg may give a packet the place of a unit that stands, astray, within it.
            begins = unit.aligned and bool(begun) and _begin_alike(heads[begun.start], unit.head)
            _assign(damage, unit, begun, sizes, loss, begins=begins)
    return damage


def _torn_chunks(path: Path, places: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """The packets of an AVI file between which and the next one the file does not consist of chunks."""
    torn: list[int] = []
    with path.open("rb") as file:
        for serial, (place, size, following) in enumerate(zip(places, sizes, places[1:], strict=False)):
            at = place + 8 + size + size % 2
            while at < following:
                file.seek(at)
                head = file.read(8)
                if head[:4] == b"LIST":
                    at += 12
                elif _CHUNK.fullmatch(head[:4]):
                    length = int.from_bytes(head[4:], "little")
                    at += 8 + length + length % 2
                else:
                    break
            if at != following:
                torn.append(serial)
    return torn


@dataclass(frozen=True)
class _Unit:
    """What a container stores as one piece; `aligned` if it begins with a frame."""

    place: int
    corrupt: bool
    aligned: bool
    head: bytes


def _units(path: Path, stream: VideoStream) -> list[_Unit]:
    codec = canonical_name(stream.codec_context)
    units: list[_Unit] = []
    with open_input(path, fflags="+noparse+nofillin") as container:
        other = container.streams[stream.index]
        try:
            for packet in container.demux(other):
                if packet.size:
                    place = -1 if packet.pos is None else packet.pos
                    head = bytes(memoryview(packet)[:64])
                    units.append(_Unit(place, packet.is_corrupt, begins_frame(codec, head), head))
        except (av.FFmpegError, IndexError):
            pass  # what was demuxed before is known, and the first pass met the same
    return units


def _begin_alike(packet: bytes, unit: bytes) -> bool:
    """Whether a packet begins with a unit; zeros in front of a start code may belong to the packet before."""
    one, two = packet.lstrip(b"\0"), unit.lstrip(b"\0")
    length = min(len(one), len(two))
    return one[:length] == two[:length]


def _assign(
    damage: Damage, unit: _Unit, begun: range, sizes: Sequence[int], loss: Loss | None, *, begins: bool
) -> None:
    """Notes the damage of one unit, in which the packets `begun` begin; the first of them with it, if it `begins`."""
    before = begun.start - 1
    if not loss or not loss.complete:
        for serial in begun:
            damage.add(serial)
        if before >= 0 and not (begun and unit.aligned):  # the unit begins with the rest of an earlier packet
            damage.add(before)
    elif not begun:
        damage.add(max(before, 0))
    elif not begins:
        damage.add(begun[-1])
    else:
        intact = loss.intact
        for serial in begun:
            if intact <= 0:
                damage.add(serial)
            else:
                last = serial
                if sizes[serial] > intact:
                    damage.lengths[serial] = intact
            intact -= sizes[serial]
        damage.gaps.append(last)
