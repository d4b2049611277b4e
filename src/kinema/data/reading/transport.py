"""Finds where a transport stream (MPEG-TS) lost packets, from the continuity counters, exact to the byte."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_SYNC = 0x47
_LAYOUTS = (
    (188, 0),
    (192, 4),
    (204, 0),
)  # bytes per packet, and position of its sync byte (Blu-ray has a time before it)


@dataclass(frozen=True)
class Loss:
    """The first loss within or directly after one PES packet, which normally holds one frame.

    Attributes:
        intact: bytes of the elementary stream in the PES packet before the loss.
        complete: True if these are known to be all of it, so that the loss affects only later data.
    """

    intact: int
    complete: bool


def first_loss(path: Path, begin: int, end: int | None) -> Loss | None:
    """Searches for the first loss in a PES packet.

    A PES packet is known to be complete if it states its length, or if the transport packet before the loss has
    stuffing, which a multiplexer adds only at the end of a PES packet.

    Args:
        path: the file.
        begin: position of the first transport packet of the PES packet, in bytes.
        end: position of the next PES packet of the stream; None if it is the last one.

    Returns:
        The loss, or None if there is none or the packets cannot be identified.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        file.seek(begin)
        data = file.read((path.stat().st_size if end is None else end) - begin + 204)
    layout = next((pair for pair in _LAYOUTS if _fits(data, *pair)), None)
    if layout is None:
        return None
    size, sync = layout
    packets = [data[at + sync : at + sync + 188] for at in range(0, len(data) - sync - 187, size)]
    pid = packets[0][1:3]
    # The flags beside the identifier: bit 7 "broken", bit 6 "a PES packet starts here".
    mine = [p for p in packets if p[0] == _SYNC and (p[1] & 31, p[2]) == (pid[0] & 31, pid[1])]
    held, stuffings, stuffed = b"", 0, False
    for number, packet in enumerate(mine):
        corrupt = bool(packet[1] & 128)
        if corrupt or (number > 0 and not _follows(mine[number - 1], packet)):
            header = 9 + held[8] if len(held) > 8 else len(held)
            length = int.from_bytes(held[4:6], "big")
            complete = len(held) == length + 6 if length else stuffed and stuffings == 1 and not corrupt
            return Loss(max(0, len(held) - header), complete)
        if number > 0 and packet[1] & 64:
            return None
        payload, stuffed = _payload(packet)
        stuffings += stuffed
        held += payload
    return None


def _fits(data: bytes, size: int, sync: int) -> bool:
    places = range(sync, min(len(data), sync + 4 * size), size)
    return len(data) >= sync + 188 and all(data[at] == _SYNC for at in places)


def _follows(before: bytes, packet: bytes) -> bool:
    """True if a packet's counter continues that of the previous packet."""
    has_payload, extended = packet[3] & 16, packet[3] & 32
    if extended and packet[4] and packet[5] & 128:  # "the counter restarts here"
        return True
    return packet[3] & 15 == (before[3] + (1 if has_payload else 0)) & 15


def _payload(packet: bytes) -> tuple[bytes, bool]:
    """Returns the payload of a transport packet, and whether it has stuffing."""
    if not packet[3] & 32:
        return packet[4:] if packet[3] & 16 else b"", False
    length = packet[4]
    flags = packet[5] if length else 0
    needed = (1 if length else 0) + 6 * bool(flags & 16) + 6 * bool(flags & 8) + bool(flags & 4)
    if flags & 2 and needed + 5 < len(packet):
        needed += 1 + packet[5 + needed]
    return packet[5 + length :] if packet[3] & 16 else b"", not length or (
        not flags & 1 and (length > needed or not flags)
    )
