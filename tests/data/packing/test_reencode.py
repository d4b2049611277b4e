from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from data.odd_videos import write_odd
from data.plain_videos import frame_number, write_video
from PIL import Image

from kinema.data.packing.reencode import packed_size, reencode
from kinema.data.video import VideoReader, open_video
from kinema.errors import RunError, UnreadableVideo


def frames_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with open_video(path) as video:
        return video.read(np.arange(len(video))).numpy(), video.times


@pytest.mark.parametrize(
    ("width", "height", "short_side", "expected"),
    [
        (1920, 1080, 256, (456, 256)),  # 455.1 wide: the nearest even number
        (1080, 1920, 256, (256, 456)),
        (340, 256, 256, (340, 256)),
        (320, 240, 256, (320, 240)),  # never enlarged
        (97, 61, 256, (96, 60)),  # an odd side loses a pixel and gains none
        (640, 480, 64, (86, 64)),
        (1, 50, 256, (0, 50)),
    ],
)
def test_sizes(width: int, height: int, short_side: int, expected: tuple[int, int]) -> None:
    assert packed_size(width, height, short_side) == expected


@pytest.mark.parametrize(
    "kind", ["rotated_90", "variable_rate", "late_start_mp4", "mpeg4_avi_b", "ten_bit", "odd_size"]
)
def test_frames_times_and_the_turn_are_kept(kind: str, tmp_path: Path) -> None:
    source = write_odd(kind, tmp_path)
    frames, times = frames_of(source)
    made = reencode(source, tmp_path / "packed.mp4", gop=5)
    packed, packed_times = frames_of(tmp_path / "packed.mp4")
    assert (made.frames, made.size) == (len(frames), (tmp_path / "packed.mp4").stat().st_size)
    assert packed.shape == (len(frames), made.height, made.width, 3)
    assert (made.height, made.width) == tuple(side // 2 * 2 for side in frames.shape[1:3])
    np.testing.assert_allclose(packed_times, times, atol=1.01 / 90_000)
    if "rotated" not in kind:  # their numbers lie on the side
        assert [frame_number(f) for f in packed] == [frame_number(f) for f in frames]
    if made.height == frames.shape[1]:
        assert np.abs(packed.astype(int) - frames).mean() < 8  # grain and 4:2:0 colour


@pytest.mark.parametrize("size", [(54, 40), (96, 64), (134, 100)])
def test_the_same_pictures_give_the_same_bytes(size: tuple[int, int], tmp_path: Path) -> None:
    width, height = size
    ramp = np.linspace(0, 150, width).astype(np.uint8)[None, :, None]
    picture = np.random.default_rng(0).integers(0, 64, (height, width, 3), dtype=np.uint8) + ramp
    with av.open(str(tmp_path / "source.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(14):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(picture, i, 1), format="rgb24")))
        out.mux(stream.encode(None))
    written = set()
    for _ in range(
        40
    ):  # with x264's macroblock tree, one in a hundred of these differed at 54 x 40, a third at 96 x 64
        reencode(tmp_path / "source.mp4", tmp_path / "packed.mp4")
        written.add((tmp_path / "packed.mp4").read_bytes())
    assert len(written) == 1


def test_a_keyframe_at_least_every_gop_frames(tmp_path: Path) -> None:
    source = write_video(tmp_path / "long gop.mp4", gop=250, size=(160, 96))
    for gop in (1, 7):
        reencode(source, tmp_path / "packed.mp4", gop=gop, short_side=48)
        with av.open(str(tmp_path / "packed.mp4")) as container:
            keys = [i for i, packet in enumerate(p for p in container.demux(video=0) if p.size) if packet.is_keyframe]
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 80, 48)
        assert keys[0] == 0
        assert max(np.diff([*keys, 40])) <= gop


def test_colours_survive(tmp_path: Path) -> None:
    colours = [(200, 30, 40), (20, 160, 60), (30, 60, 210), (128, 128, 128)]
    folder = tmp_path / "frames"
    folder.mkdir()
    for i, colour in enumerate(colours):
        Image.new("RGB", (64, 48), colour).save(folder / f"{i}.png")
    reencode(folder, tmp_path / "packed.mp4")
    packed, times = frames_of(tmp_path / "packed.mp4")
    np.testing.assert_allclose(times, np.arange(4) / 30, atol=1e-5)
    for frame, colour in zip(packed, colours, strict=True):
        assert np.abs(frame.astype(int) - colour).max() <= 5


def test_what_cannot_be_read_leaves_nothing(tmp_path: Path) -> None:
    for kind in ("missing", "cut_off", "text"):
        with pytest.raises(UnreadableVideo):
            reencode(write_odd(kind, tmp_path), tmp_path / "out" / "packed.mp4")
    Image.new("RGB", (1, 40)).save(tmp_path / "thin.png")
    (tmp_path / "thin").mkdir()
    (tmp_path / "thin.png").rename(tmp_path / "thin" / "0.png")
    with pytest.raises(UnreadableVideo, match="1x40 pixels"):
        reencode(tmp_path / "thin", tmp_path / "out" / "packed.mp4")
    assert list(tmp_path.glob("out/*")) == []


def test_a_file_that_comes_back_different_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_video(tmp_path / "source.mp4")
    monkeypatch.setattr(
        "kinema.data.packing.reencode._pictures", lambda reader: iter(reader.read(np.arange(40)).numpy())
    )
    reencode(source, tmp_path / "packed.mp4")
    before = (tmp_path / "packed.mp4").read_bytes()
    monkeypatch.setattr(
        "kinema.data.packing.reencode._encode", lambda reader, part, *rest: part.write_bytes(before[:2000])
    )
    with pytest.raises(UnreadableVideo, match="cannot be encoded"):
        reencode(source, tmp_path / "packed.mp4")

    def one_short(reader: VideoReader, part: Path, *rest: object) -> None:
        write_video(part, frames=39, form="mp4")

    monkeypatch.setattr("kinema.data.packing.reencode._encode", one_short)
    with pytest.raises(UnreadableVideo, match="of its 40 frames are the same"):
        reencode(source, tmp_path / "packed.mp4")
    assert (tmp_path / "packed.mp4").read_bytes() == before


def test_a_full_disk_is_no_fault_of_the_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*rest: object) -> None:
        raise av.error.OSError(28, "No space left on device", "x")

    monkeypatch.setattr("kinema.data.packing.reencode._encode", full)
    with pytest.raises(RunError, match="No space left on device"):
        reencode(write_video(tmp_path / "source.mp4"), tmp_path / "packed.mp4")
