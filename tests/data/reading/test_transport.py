from __future__ import annotations

from pathlib import Path

import pytest
from data.odd_transport import VIDEO

from kinema.data.reading.transport import Loss, first_loss


def packet(payload: bytes, start: bool, counter: int, *, corrupt: bool = False, restarts: bool = False) -> bytes:
    head = bytes([0x47, corrupt << 7 | start << 6 | VIDEO >> 8, VIDEO & 255])
    room = 184 - len(payload)
    if not room and not restarts:
        return head + bytes([0x10 | counter]) + payload
    field = b"" if room == 1 else bytes([restarts << 7]) + b"\xff" * (room - 2)
    return head + bytes([0x30 | counter, room - 1]) + field + payload


def pes(length: int = 0) -> bytes:
    return b"\0\0\1\xe0" + length.to_bytes(2, "big") + b"\x80\0\0"


FULL = bytes(range(184))
BEGIN = pes() + FULL[9:]
NEXT = pes() + FULL[9:]


def write(path: Path, packets: list[bytes], layout: int = 188) -> Path:
    lead, tail = (b"\1\2\3\4", b"") if layout == 192 else (b"", bytes(layout - 188))
    path.write_bytes(b"".join(lead + packet + tail for packet in packets))
    return path


@pytest.mark.parametrize("layout", [188, 192, 204])
def test_a_whole_pes_packet_before_a_loss(tmp_path: Path, layout: int) -> None:
    packets = [packet(BEGIN, True, 0), packet(FULL, False, 1), packet(FULL[:50], False, 2), packet(NEXT, True, 9)]
    path = write(tmp_path / "a.ts", packets, layout)
    assert first_loss(path, 0, 3 * layout) == Loss(175 + 184 + 50, True)
    assert first_loss(path, 3 * layout, None) is None


@pytest.mark.parametrize("stuffing", [1, 2, 3, 100])
def test_any_stuffing_shows_the_end(tmp_path: Path, stuffing: int) -> None:
    packets = [
        packet(BEGIN, True, 0),
        packet(FULL[stuffing:], False, 1),
        packet(FULL, False, 9),
        packet(NEXT, True, 10),
    ]
    assert first_loss(write(tmp_path / "a.ts", packets), 0, 3 * 188) == Loss(175 + 184 - stuffing, True)


def test_a_loss_within_proves_nothing_whole(tmp_path: Path) -> None:
    packets = [packet(BEGIN, True, 0), packet(FULL, False, 2), packet(FULL[:50], False, 3), packet(NEXT, True, 4)]
    assert first_loss(write(tmp_path / "a.ts", packets), 0, 3 * 188) == Loss(175, False)
    packets = [packet(BEGIN, True, 15), packet(FULL, False, 0, corrupt=True), packet(NEXT, True, 1)]
    assert first_loss(write(tmp_path / "b.ts", packets), 0, 2 * 188) == Loss(175, False)


def test_stuffing_in_every_packet_proves_nothing(tmp_path: Path) -> None:
    packets = [packet(BEGIN[:100], True, 0), packet(FULL[:100], False, 1), packet(NEXT, True, 9)]
    assert first_loss(write(tmp_path / "a.ts", packets), 0, 2 * 188) == Loss(91 + 100, False)


def test_a_length_that_is_told_decides(tmp_path: Path) -> None:
    for length, whole in ((3 + 175 + 184, True), (3 + 175 + 184 + 1, False)):
        begin = pes(length) + FULL[9:]
        packets = [packet(begin, True, 0), packet(FULL, False, 1), packet(NEXT, True, 9)]
        assert first_loss(write(tmp_path / "a.ts", packets), 0, 2 * 188) == Loss(175 + 184, whole)


def test_no_loss(tmp_path: Path) -> None:
    packets = [packet(BEGIN, True, 15), packet(FULL, False, 0), packet(NEXT, True, 1)]
    assert first_loss(write(tmp_path / "a.ts", packets), 0, 2 * 188) is None
    restarted = [packet(BEGIN, True, 15), packet(FULL[:100], False, 9, restarts=True), packet(NEXT, True, 10)]
    assert first_loss(write(tmp_path / "b.ts", restarted), 0, 2 * 188) is None
    (tmp_path / "c.ts").write_bytes(bytes(1000))
    assert first_loss(tmp_path / "c.ts", 0, None) is None
