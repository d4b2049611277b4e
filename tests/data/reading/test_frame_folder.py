from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data.odd_videos import picture
from PIL import Image

from kinema.data.video import FrameFolder, open_video, probe
from kinema.errors import UnreadableVideo


def fill(folder: Path, names: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        Image.fromarray(picture(i)).save(folder / name)
    return folder


NAMES = ["img_1.png", "img_2.png", "img_9.PNG", "img_10.png", "img_100.png"]


def test_frames_come_in_natural_order_any_order_and_repeated(tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", NAMES)
    (folder / "labels.txt").write_text("no frame")
    (folder / ".hidden.png").write_text("no frame")
    with open_video(folder) as video:
        assert len(video) == 5
        assert np.allclose(video.times, np.arange(5) / 30)
        got = video.read([4, 0, 3, 3]).numpy()
        assert got.shape == (4, 64, 96, 3)
        for frame, i in zip(got, [4, 0, 3, 3], strict=True):
            assert np.array_equal(frame, picture(i))
        assert tuple(video.read([]).shape) == (0, 64, 96, 3)
        with pytest.raises(IndexError):
            video.read([5])


def test_frames_come_ascending_each_once_and_files_are_opened_when_asked_for(tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", NAMES)
    with FrameFolder(folder) as video:
        stream = video.frames([3, 1, 3, 4])
        index, frame = next(stream)
        assert (index, frame.tobytes()) == (1, picture(1).tobytes())
        (folder / "img_100.png").unlink()
        assert next(stream)[0] == 3
        with pytest.raises(UnreadableVideo, match=r"img_100\.png"):
            next(stream)
        with pytest.raises(IndexError):
            video.frames([5])


def test_facts(tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", NAMES)
    info = probe(folder)
    assert (info.frames, info.width, info.height, info.codec) == (5, 96, 64, "png")
    assert (info.fps, info.duration, info.variable_rate, info.has_audio) == (30, pytest.approx(5 / 30), False, False)
    assert FrameFolder(folder, fps=10).info.duration == pytest.approx(0.5)


def test_jpegs_are_turned_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    smooth = np.broadcast_to(np.linspace(0, 255, 96).astype(np.uint8)[None, :, None], (64, 96, 3))
    Image.fromarray(smooth).save(tmp_path / "0.jpg", exif=exif, quality=95)
    with Image.open(tmp_path / "0.jpg") as image:
        stored = np.asarray(image)
    with FrameFolder(tmp_path) as video:
        assert (video.info.width, video.info.height) == (64, 96)
        assert np.array_equal(video.read([0])[0].numpy(), np.rot90(stored, -1))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA", "I;16"])
def test_every_kind_of_png_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = picture(3)[..., 0]
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "0.png")
        expected = np.repeat(grey[..., None], 3, -1)
    else:
        Image.fromarray(picture(3)).convert(mode).save(tmp_path / "0.png")
        with Image.open(tmp_path / "0.png") as image:
            expected = np.asarray(image.convert("RGB"))
    with FrameFolder(tmp_path) as video:
        assert np.array_equal(video.read([0])[0].numpy(), expected)


def test_a_frame_of_another_size_is_named(tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", NAMES)
    Image.fromarray(picture(0, 48, 64)).save(folder / "img_9.PNG")
    with pytest.raises(UnreadableVideo, match=r"img_9\.PNG has 48 x 64 pixels but img_1\.png has 96 x 64"):
        probe(folder)
    with FrameFolder(folder) as video:
        assert len(video.read([0, 1, 3])) == 3
        with pytest.raises(UnreadableVideo, match=r"img_9\.PNG"):
            video.read([2])


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n"])
def test_a_damaged_frame_is_named(tmp_path: Path, content: bytes) -> None:
    folder = fill(tmp_path / "f", NAMES)
    (folder / "img_2.png").write_bytes(content)
    with FrameFolder(folder) as video, pytest.raises(UnreadableVideo, match=r"img_2\.png is not a complete"):
        video.read([0, 1])


def test_a_cut_off_frame_is_named(tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", NAMES)
    data = (folder / "img_2.png").read_bytes()
    (folder / "img_2.png").write_bytes(data[: len(data) // 2])
    with FrameFolder(folder) as video, pytest.raises(UnreadableVideo, match=r"img_2\.png is not a complete"):
        video.read([1])


def test_folders_without_frames(tmp_path: Path) -> None:
    with pytest.raises(UnreadableVideo, match="contains no JPEG or PNG"):
        FrameFolder(tmp_path)
    with pytest.raises(UnreadableVideo, match="no such folder"):
        FrameFolder(tmp_path / "absent")
