"""Finds the damaged packets of a file, as far as its container shows them."""

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
HEAD = 16  # bytes of a packet by which it is compared with another
_UNPARSED = ("mov", "matroska")  # containers whose packets are already frames


@dataclass
class Damage:
    """The lost parts of a stream.

    Attributes:
        packets: ascending serials of damaged packets.
        gaps: ascending serials of intact packets after which data are lost.
        lengths: bytes that belong to a packet, for packets that are followed by a part of a later, lost packet.
    """

    packets: list[int] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)
    lengths: dict[int, int] = field(default_factory=dict)

    def add(self, serial: int) -> None:
        """Records a damaged packet."""
        if not self.has(serial):
            insort(self.packets, serial)

    def part(self, serial: int) -> None:
        """Records that something is lost after a packet."""
        if not self.breaks(serial, serial + 1):
            insort(self.gaps, serial)

    def has(self, serial: int) -> bool:
        """True if a packet is damaged."""
        return bool(self.within(serial, serial))

    def within(self, first: int, last: int) -> list[int]:
        """Returns the damaged packets from `first` to `last`, inclusive."""
        return self.packets[bisect_left(self.packets, first) : bisect_right(self.packets, last)]

    def breaks(self, first: int, last: int) -> bool:
        """True if data are lost between packet `first` and packet `last`."""
        at = bisect_left(self.gaps, first)
        return at < len(self.gaps) and self.gaps[at] < last

    def copy(self, without: Container[int] = ()) -> Damage:
        """Returns a copy to which more can be added, without some packets."""
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

    FFmpeg cuts the units of some containers into frames with a parser. The parser returns frame N - 1 when it receives
    the beginning of frame N. FFmpeg puts the flag of the data it has just passed in on frame N - 1, or drops the flag
    if the parser returns nothing. Therefore the file is demuxed again without the parser, and damage is assigned by
    positions in the file. Transport streams, which are the ones that report losses, are always demuxed twice (0.18 s
    in addition to 0.49 s for 150 MB), other containers only if a packet is flagged.

    Args:
        path: the file.
        stream: the opened stream.
        places: per packet, the position in the file of the unit in which the packet begins.
        sizes: per packet, its size in bytes.
        flagged: ascending serials of packets that FFmpeg reports as corrupt.
        heads: per packet, its first `HEAD` bytes.

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
            # FFmpeg may report for a packet the position of a misplaced unit in the middle of it.
            begins = unit.aligned and bool(begun) and _begin_alike(heads[begun.start], unit.head)
            _assign(damage, unit, begun, sizes, loss, begins=begins)
    return damage


def _torn_chunks(path: Path, places: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """Finds the packets of an AVI file that are followed by data that do not consist of chunks."""
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
    """A piece as stored by a container; `aligned` if it begins with a frame."""

    place: int
    corrupt: bool
    aligned: bool
    head: bytes


def _units(path: Path, stream: VideoStream) -> list[_Unit]:
    codec = canonical_name(stream.codec_context)
    units: list[_Unit] = []
    try:
        container = open_input(path, fflags="+noparse+nofillin")
    except av.FFmpegError:
        return units  # FFmpeg recognises the streams only with its parsers
    with container:
        other = container.streams[stream.index]
        try:
            for packet in container.demux(other):
                if packet.size:
                    place = -1 if packet.pos is None else packet.pos
                    head = bytes(memoryview(packet)[:64])
                    units.append(_Unit(place, packet.is_corrupt, begins_frame(codec, head), head))
        except (av.FFmpegError, IndexError):
            pass  # the units before it are known, and the first pass had the same error
    return units


def _begin_alike(packet: bytes, unit: bytes) -> bool:
    """True if a packet and a unit begin with the same bytes; zeros before a start code are ignored."""
    one, two = packet.lstrip(b"\0"), unit.lstrip(b"\0")
    length = min(len(one), len(two))
    return one[:length] == two[:length]


def _assign(
    damage: Damage, unit: _Unit, begun: range, sizes: Sequence[int], loss: Loss | None, *, begins: bool
) -> None:
    """Records the damage of one unit, in which the packets `begun` begin; `begins` if the first has its first byte."""
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
