from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from data.odd_videos import GOOD, frame_number, write_odd, write_video

from kinema.data.reading import packets as packets_module
from kinema.data.reading.sample_table import SampleTable, read_sample_table
from kinema.data.video import VideoReader

pytestmark = pytest.mark.skipif(not hasattr(VideoStream, "index_entries"), reason="PyAV before 17 shows no index")

TOLD = "h264 one_gop no_b_frames many_b_frames variable_rate rotated_90 rotated_180 odd_size alpha_png ten_bit "
TOLD += "late_start_mp4 sound_first negative_offsets open_gop intra_refresh hevc_open_gop mpeg4_mp4_b av1 qtrle"
NOT_TOLD = "single_frame fragmented edit_list no_stamps"


def table_of(path: Path) -> SampleTable | None:
    with av.open(str(path)) as container:
        return read_sample_table(path, container.streams.video[0])


@pytest.mark.parametrize("kind", [kind for kind in TOLD.split() if kind in GOOD])
def test_the_table_is_what_demuxing_gives(tmp_path: Path, kind: str) -> None:
    path = write_odd(kind, tmp_path)
    table = table_of(path)
    assert table is not None
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert table.pts.tolist() == [packet.pts for packet in packets]
    assert table.dts.tolist() == [packet.dts for packet in packets]
    assert table.sizes.tolist() == [packet.size for packet in packets]
    assert table.places.tolist() == [packet.pos for packet in packets]
    assert table.keys.tolist() == [packet.is_keyframe for packet in packets]


@pytest.mark.parametrize("kind", NOT_TOLD.split())
def test_where_tables_do_not_tell_all(tmp_path: Path, kind: str) -> None:
    assert table_of(write_odd(kind, tmp_path)) is None


def test_every_mp4_is_one_or_the_other() -> None:
    files = {kind for kind, (suffix, _) in GOOD.items() if suffix in (".mp4", ".mov")}
    others = {"rotated_270", "mirrored", "full_range_444"}
    assert files | {"av1"} == {*TOLD.split(), *NOT_TOLD.split(), *others}


def test_cut_off_files_are_looked_at(tmp_path: Path) -> None:
    assert table_of(write_odd("cut_off", tmp_path)) is None


def test_a_table_that_lies_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lying(path: Path, stream: av.VideoStream) -> SampleTable | None:
        table = read_sample_table(path, stream)
        assert table is not None
        return replace(table, pts=np.roll(table.pts, 7))

    path = write_video(tmp_path / "a.mp4")
    monkeypatch.setattr(packets_module, "read_sample_table", lying)
    with VideoReader(path) as video:
        assert [frame_number(frame) for frame in video.read([30, 2, 17]).numpy()] == [30, 2, 17]
        assert video.info.fps == pytest.approx(25)


@pytest.mark.parametrize("seed", range(12))
def test_noise_in_the_tables_raises_nothing(tmp_path: Path, seed: int) -> None:
    path = write_video(tmp_path / "a.mp4", frames=8)
    data = bytearray(path.read_bytes())
    start, rng = data.index(b"moov"), np.random.default_rng(seed)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for at in rng.integers(start, len(data), 40):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        table = read_sample_table(path, stream)
        assert table is None or len(table.pts) == 8
