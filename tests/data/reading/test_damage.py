"""Files that cannot be read, or not all of it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import av
import numpy as np
import pytest
from data.full_decode import Library, assert_frames, full_decode, stored_order
from data.odd_containers import late_stream
from data.odd_videos import FRAMES, GOOD, frame_number, write_odd, write_video
from PIL import Image

from kinema.data.reading.picture import Picture
from kinema.data.video import VideoReader, open_video, probe
from kinema.errors import UnreadableVideo


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("odd"))


REASONS = {
    "missing": "there is no such file",
    "empty": "empty",
    "text": "not a video",
    "audio_only": "sound but no video",
    "audio_with_cover": "sound but no video",
    "no_table": "truncated",
}


@pytest.mark.parametrize("kind", REASONS)
def test_broken_files_are_refused_in_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str) -> None:
    path = write_odd(kind, tmp_path)
    capfd.readouterr()
    with pytest.raises(UnreadableVideo, match=REASONS[kind]) as caught:
        probe(path)
    assert caught.value.path == str(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "name", ["a.png", "a.apng", "a.jpg", "a.JPEG", "a.webp", "a.bmp", "a.tif", "no suffix", "a.mp4"]
)
def test_a_single_picture_is_no_video(tmp_path: Path, name: str) -> None:
    kind = {".png": "PNG", ".apng": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF"}.get(
        Path(name).suffix, "JPEG"
    )
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / name, format=kind)
    with pytest.raises(UnreadableVideo) as caught:
        probe(tmp_path / name)
    assert caught.value.reason == "it is a single picture, not a video: give the folder that contains all pictures"


@pytest.mark.parametrize("name", ["many.mjpeg", "many.mjpg", "animation.gif", "animation.png"])
def test_pictures_in_a_row_are_a_video(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)) for _ in range(5)]
    if name.startswith("many"):
        with (tmp_path / name).open("wb") as file:
            for picture in pictures:
                picture.save(file, format="JPEG")
    else:
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], duration=100)
    with open_video(tmp_path / name) as video:
        assert video.info.frames == 5
        assert len(video.read([0, 4])) == 2


def test_a_cut_off_file_gives_what_it_holds(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_odd("cut_off", tmp_path)
    capfd.readouterr()
    expected = full_decode(path)
    assert 10 < len(expected) < 30
    with VideoReader(path) as video:
        assert video.info.frames == FRAMES
        assert video.info.duration == pytest.approx(FRAMES / 25, abs=0.2)
        sound = []
        for index in range(FRAMES):
            try:
                assert frame_number(video.read([index])[0].numpy()) == index
                sound.append(index)
            except UnreadableVideo as error:
                reason = error.reason
        assert len(sound) >= len(expected) - 4
        assert f"truncated; {len(sound)} of 40 frames are readable" in reason
    assert capfd.readouterr() == ("", "")


def test_a_damaged_file_gives_what_the_damage_left(tmp_path: Path, odd: Library) -> None:
    _, whole = odd("no_b_frames")
    path = write_odd("damaged", tmp_path)  # packets 15 to 17; keyframes at 12 and 24
    with VideoReader(path) as video:
        for index in [*range(15), *range(24, FRAMES)]:
            assert_frames(video.read([index]), whole, [index])
        for wanted in ([15], [23], [3, 20, 30]):
            with pytest.raises(UnreadableVideo, match=r"frame (15|20|23) .* damaged; 31 of 40 frames are readable"):
                video.read(wanted)
        assert_frames(video.read([14, 24]), whole, [14, 24])


def test_damage_before_a_keyframe_is_shown_does_not_touch_what_follows(odd: Library, tmp_path: Path) -> None:
    path, whole = odd("open_gop")
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    key = [i for i, packet in enumerate(packets) if packet.is_keyframe][1]
    order = stored_order(path)
    leading = [serial for serial in range(key, key + 4) if packets[serial].pts < packets[key].pts]
    assert leading, "nothing is stored behind the keyframe and shown before it"
    data = bytearray(path.read_bytes())
    for serial in leading:
        data[packets[serial].pos + 4 : packets[serial].pos + packets[serial].size] = bytes(packets[serial].size - 4)
    path = tmp_path / path.name
    path.write_bytes(data)
    with VideoReader(path) as video:
        for index in (0, order.index(key), order.index(key) + 5, FRAMES - 1):
            assert_frames(video.read([index]), whole, [index])
        with pytest.raises(UnreadableVideo, match="damaged"):
            video.read([order.index(leading[0])])
        for index in (0, order.index(key), order.index(key) + 5, FRAMES - 1):
            assert_frames(video.read([index]), whole, [index])


def test_damage_is_remembered_where_frames_were_decoded_at_opening(odd: Library, tmp_path: Path) -> None:
    path, whole = odd("no_stamps")
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    data[packets[13].pos + 5 : packets[13].pos + packets[13].size] = bytes(packets[13].size - 5)
    path = tmp_path / path.name
    path.write_bytes(data)
    with VideoReader(path) as video:
        lost = FRAMES - len(video)
        for _ in range(2):
            assert_frames(video.read([0, 11]), whole, [0, 11])
            assert_frames(video.read([len(video) - 1]), whole[lost:], [len(video) - 1])
            for index in (16, 20):
                with pytest.raises(UnreadableVideo, match="damaged"):
                    video.read([index])


NOISY = ["h264", "open_gop_ts", "no_count", "mpeg4_avi", "mpeg4_packed", "vp8_hidden", "av1"]


@pytest.mark.parametrize("kind", [kind for kind in NOISY if kind in GOOD])
def test_noise_never_raises_anything_else(odd: Library, tmp_path: Path, kind: str) -> None:
    whole = odd(kind)[0].read_bytes()
    path = tmp_path / f"noise{odd(kind)[0].suffix}"
    outcomes = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        data = bytearray(whole[: len(whole) * 2 // 3] if seed % 3 == 0 else whole)
        for at in rng.integers(0, len(data), 1 + 3 * seed):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        try:
            with VideoReader(path) as video:
                for start in (0, len(video) // 2, len(video) - 1):
                    video.read([start])
            outcomes.add("read")
        except UnreadableVideo as error:
            assert error.reason
            outcomes.add("refused")
    assert outcomes


def test_a_stream_that_begins_within_the_file_is_no_hindrance(tmp_path: Path) -> None:
    path = write_video(tmp_path / "plain.ts")
    expected = full_decode(path)
    with VideoReader(late_stream(tmp_path / "late.ts"), memory=0) as video:
        assert len(video) == FRAMES
        assert_frames(video.read([39, 2, 20]), expected, [39, 2, 20])


def test_a_frame_that_has_no_rgb_is_refused(odd: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Picture, frame: av.VideoFrame) -> np.ndarray:
        raise av.error.OSError(95, "Operation not supported")

    monkeypatch.setattr(Picture, "rgb", fails)
    with (
        VideoReader(odd("h264")[0]) as video,
        pytest.raises(UnreadableVideo, match="frame 4 cannot be converted"),
    ):
        video.read([4])


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe.mp4"
    os.mkfifo(path)
    with pytest.raises(UnreadableVideo, match="neither a file nor a folder"):
        open_video(path)


def test_the_error_crosses_the_process_border() -> None:
    error = pickle.loads(pickle.dumps(UnreadableVideo("a.mp4", "it is empty")))
    assert (error.path, error.reason) == ("a.mp4", "it is empty")
