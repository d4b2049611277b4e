from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from data.full_decode import full_decode
from data.odd_streams import encode, store
from data.odd_videos import FRAMES, write_odd

from kinema.data.reading.packets import Packets, WrongTableError
from kinema.data.video import VideoReader

SHOWS_INDEX = hasattr(VideoStream, "index_entries")  # from PyAV 17 on


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packets")
    return {kind: write_odd(kind, folder) for kind in ("h264", "late_start", "open_gop_ts", "raw_h264")}


def contents(packets: Packets, start: int) -> list[tuple[int, int | None, bytes]]:
    return [(serial, packet.pts, bytes(packet)) for serial, packet in packets.walk(start)]


def stored(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize("memory", [0, 2**20], ids=["reread", "held"])
@pytest.mark.parametrize("kind", ["h264", "late_start", "open_gop_ts", "raw_h264"])
def test_packets_from_any_place_on(files: dict[str, Path], kind: str, memory: int) -> None:
    expected = stored(files[kind])
    packets = Packets(files[kind], memory)
    assert packets.listed == (kind == "h264" and SHOWS_INDEX)
    assert len(packets) == FRAMES == len(expected)
    for start in (0, 12, 13, 39, 24, 0, 1):
        assert contents(packets, start) == [(i, i, expected[i]) for i in range(start, FRAMES)]
    packets.close()


def test_a_small_memory_keeps_no_packets(files: dict[str, Path]) -> None:
    path = files["late_start"]
    for memory, kept in ((path.stat().st_size, True), (path.stat().st_size // 2, False)):
        packets = Packets(path, memory)
        assert (packets._held is not None) == kept
        packets.close()


def test_a_container_that_comes_back_with_other_packets_is_read_from_its_start(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def astray(self: Packets, start: int) -> Iterator[tuple[int, av.Packet]]:
        yield from ((serial - 3, packet) for serial, packet in sought(self, start))

    path = files["late_start"]
    expected = [(i, i, data) for i, data in enumerate(stored(path))]
    packets, sought = Packets(path, 0), Packets._sought
    for going_there in (astray, lambda self, start: iter(())):
        monkeypatch.setattr(Packets, "_sought", going_there)
        assert contents(packets, 26) == expected[26:]
    packets.close()


@pytest.mark.skipif(not SHOWS_INDEX, reason="PyAV before 17 shows no index")
def test_packets_other_than_the_table_says_are_never_handed_out(files: dict[str, Path]) -> None:
    packets = Packets(files["h264"], 0)
    pts, dts, size = packets._identities[20]
    packets._identities[20] = (pts, dts, size + 1)
    walked = []
    with pytest.raises(WrongTableError):
        for serial, _ in packets.walk(12):
            walked.append(serial)
    assert walked == list(range(12, 20))
    packets.scan()
    assert not packets.listed
    assert contents(packets, 12) == [(i, i, data) for i, data in enumerate(stored(files["h264"]))][12:]
    packets.close()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_b_frames_of_mpeg4_whose_stamps_follow_the_order_of_storage_are_counted_by_decoding(
    tmp_path: Path, suffix: str
) -> None:
    chunks = encode("mpeg4", options={"bf": "2", "b_strategy": "0", "qscale": "3"})
    assert not opened(store(tmp_path / f"right{suffix}", "mpeg4", chunks))
    straight = [replace(chunk, pts=chunk.dts) for chunk in chunks]
    path = store(tmp_path / f"straight{suffix}", "mpeg4", straight)
    assert opened(path)
    whole = full_decode(path)
    with VideoReader(path) as video:
        assert len(video) == len(whole)
        for index in (7, 1, 20, 38, 13):
            assert np.array_equal(video.read([index])[0].numpy(), whole[index]), index


def opened(path: Path) -> bool:
    """Whether opening a file decoded all of it."""
    with VideoReader(path) as video:
        return video.work.decoded > 0
