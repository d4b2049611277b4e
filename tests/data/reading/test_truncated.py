"""Files that were cut off, hold nothing, or claim too much: the true reason, with the numbers."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from data.odd_videos import FRAMES, frame_number, write_video
from PIL import Image

from kinema.data.reading import limits
from kinema.data.video import VideoReader, open_video, probe
from kinema.errors import UnreadableVideo


def moov_of(data: bytes) -> tuple[int, int]:
    at = data.index(b"moov") - 4
    return at, int.from_bytes(data[at : at + 4], "big")


def reason_of(path: Path) -> str:
    with pytest.raises(UnreadableVideo) as caught:
        probe(path)
    assert caught.value.path == str(path)
    assert "\n" not in caught.value.reason
    return caught.value.reason


# Less than the last 0.9 of a table lacks where the frames lie; a player can use a table that lacks but the user's text.
@pytest.mark.parametrize("part", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("form", ["front.mp4", "end.mp4", "front.mov", "fragmented.mp4"])
def test_a_cut_within_the_frame_table_is_named(tmp_path: Path, form: str, part: float) -> None:
    flags = {"front": "faststart", "fragmented": "frag_keyframe+empty_moov"}.get(form.split(".")[0])
    path = write_video(tmp_path / form, mux={"movflags": flags} if flags else {})
    data = path.read_bytes()
    at, size = moov_of(data)
    path.write_bytes(data[: at + max(9, int(size * part))])
    reason = reason_of(path)
    assert "truncated inside its frame table (moov)" in reason
    assert f"{max(9, int(size * part))} of {size} bytes" in reason


def test_a_cut_before_the_frame_table_is_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")
    data = path.read_bytes()
    at, _ = moov_of(data)
    path.write_bytes(data[: at - 100])
    assert "truncated" in reason_of(path) and "bytes of mdat" in reason_of(path)
    path.write_bytes(data[:at])
    assert "moov) is missing" in reason_of(path)
    path.write_bytes(data[:12])
    assert "truncated" in reason_of(path)


def test_a_cut_behind_the_frame_table_leaves_no_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", mux={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: sum(moov_of(data)) + 16])
    assert "none of the 40 frames" in reason_of(path)


@pytest.mark.parametrize("form", ["a.mp4", "a.mkv", "a.avi", "a.webm"])
def test_the_numbers_read_and_declared_are_told(tmp_path: Path, form: str) -> None:
    codec = {"avi": "mpeg4", "webm": "libvpx"}.get(form[2:], "libx264")
    path = write_video(tmp_path / form, codec, mux={"movflags": "faststart"} if form == "a.mp4" else {})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 4 // 5])
    with VideoReader(path) as video:
        assert len(video) == FRAMES
        held = []
        for index in range(FRAMES):
            try:
                # A frame that is stored late may be missing before one that is held; the times tell.
                assert frame_number(video.read([index])[0].numpy()) == round(video.times[index] * 25)
                held.append(index)
            except UnreadableVideo as error:
                reason = error.reason
        assert 10 < len(held) < FRAMES
        assert f"the file is truncated; {len(held)} of {FRAMES} frames are readable" in reason


def test_a_file_without_frames_is_an_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")
    data = bytearray(path.read_bytes())
    at = data.index(b"stsz") + 12
    count = struct.unpack_from(">I", data, at)[0]
    data[at + 4 : at + 4 + 4 * count] = bytes(4 * count)
    path.write_bytes(data)
    assert "none of the 40 frames" in reason_of(path)
    path = write_video(tmp_path / "b.mkv")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\x1f\x43\xb6\x75")])  # up to the first cluster
    assert "truncated" in reason_of(path)


# ---- claims


def huge_gif(path: Path) -> None:
    data = bytearray(write_video(path, "gif", pix_fmt="rgb8", frames=5).read_bytes())
    struct.pack_into("<HH", data, 6, 60000, 60000)
    path.write_bytes(data)


def huge_raw(path: Path) -> None:
    data = bytearray(write_video(path, "rawvideo", pix_fmt="rgb24", frames=3).read_bytes())
    struct.pack_into(">HH", data, data.index(b"stsd") + 16 + 28, 60000, 60000)
    path.write_bytes(data)


def huge_jpegs(path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(file, "JPEG")
    data = bytearray(file.getvalue())
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, 60000, 60000)
    path.write_bytes(bytes(data) * 5)


HUGE = {"a.gif": huge_gif, "a.mov": huge_raw, "a.mjpeg": huge_jpegs}


@pytest.mark.parametrize("name", HUGE)
def test_huge_frames_are_refused_with_the_limit(tmp_path: Path, name: str) -> None:
    HUGE[name](tmp_path / name)
    with pytest.raises(UnreadableVideo, match="16384 x 16384") as caught, open_video(tmp_path / name) as video:
        video.read([0])
    assert caught.value.path == str(tmp_path / name)


def test_the_limit_holds_for_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "frames").mkdir()
    Image.new("RGB", (96, 64)).save(tmp_path / "frames" / "0.png")
    path = write_video(tmp_path / "a.mp4", frames=2)
    monkeypatch.setattr(limits, "LARGEST_FRAME", 96 * 64)
    for source in (path, tmp_path / "frames"):
        assert probe(source).width == 96
    monkeypatch.setattr(limits, "LARGEST_FRAME", 96 * 64 - 1)
    for source in (path, tmp_path / "frames"):
        assert "96 x 64 pixels" in reason_of(source)


def test_a_stream_that_grows_within_is_scaled_to_what_it_declared(tmp_path: Path) -> None:
    small = write_video(tmp_path / "s.h264", frames=10).read_bytes()
    large = write_video(tmp_path / "l.h264", frames=10, size=(960, 640)).read_bytes()
    path = tmp_path / "a.h264"
    path.write_bytes(small + large + small)
    with VideoReader(path) as video:
        assert tuple(video.read([0, 15, 29]).shape) == (3, 64, 96, 3)


def test_claimed_numbers_of_frames_cost_nothing(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.mp4").read_bytes()
    sizes, times = data.index(b"stsz") + 8, data.index(b"stts") + 12
    for at, claim in ((sizes, struct.pack(">II", 1, 0x7FFFFFF0)), (times, struct.pack(">I", 0x7FFFFFFF))):
        path = tmp_path / "claims.mp4"
        path.write_bytes(data[:at] + claim + data[at + len(claim) :])
        try:
            with VideoReader(path) as video:
                assert len(video) <= FRAMES
                video.read([0])
        except UnreadableVideo as error:
            assert error.reason
