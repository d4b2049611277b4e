from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from data.odd_videos import FRAMES, write_odd

from kinema.data.reading.packets import Packets


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_odd("h264", tmp_path_factory.mktemp("packets"))


def contents(packets: Packets, start: int) -> list[tuple[int, int | None, bytes]]:
    return [(serial, packet.pts, bytes(packet)) for serial, packet in packets.walk(start)]


@pytest.mark.parametrize("start", [0, 1, 12, 13, 39, 24])
def test_packets_from_the_file_are_those_from_memory(path: Path, start: int) -> None:
    held, reread = Packets(path, 2**20), Packets(path, 0)
    expected = contents(held, start)
    assert [serial for serial, _, _ in expected] == list(range(start, FRAMES))
    assert all(serial == stamp for serial, stamp, _ in expected)
    for _ in range(2):
        assert contents(reread, start) == expected
    held.close()
    reread.close()


def test_a_container_that_comes_back_with_other_packets_is_read_from_its_start(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def astray(self: Packets, start: int) -> Iterator[tuple[int, av.Packet]]:
        yield from ((serial - 3, packet) for serial, packet in sought(self, start))

    held, reread, sought = Packets(path, 2**20), Packets(path, 0), Packets._sought
    monkeypatch.setattr(Packets, "_sought", astray)
    assert contents(reread, 26) == contents(held, 26)
    monkeypatch.setattr(Packets, "_sought", lambda self, start: iter(()))
    assert contents(reread, 26) == contents(held, 26)
    held.close()
    reread.close()


def test_a_small_memory_keeps_no_packets(path: Path) -> None:
    packets = Packets(path, path.stat().st_size // 2)
    assert packets._held is None
    packets.close()
