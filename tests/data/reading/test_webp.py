from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data.odd_videos import frame_number, picture
from PIL import Image

from kinema.data.video import is_video, open_video, probe
from kinema.errors import UnreadableVideo

COUNT = 8


def write(path: Path, frames: list[Image.Image], duration: int | list[int] = 40, **options: object) -> Path:
    frames[0].save(
        path, format="WEBP", save_all=True, append_images=frames[1:], duration=duration, lossless=True, **options
    )
    return path


def numbered() -> list[Image.Image]:
    return [Image.fromarray(picture(i)) for i in range(COUNT)]


@pytest.mark.parametrize("name", ["a.webp", "misnamed.mp4", "no suffix"])
def test_frames_and_their_times(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, numbered(), [40, 40, 200, 40, 40, 40, 40, 40])
    with open_video(path) as video:
        assert len(video) == COUNT
        assert np.allclose(video.times, [0, 0.04, 0.08, 0.28, 0.32, 0.36, 0.4, 0.44])
        assert (video.info.width, video.info.height, video.info.codec) == (96, 64, "webp")
        assert video.info.variable_rate
        assert (video.duration, video.stored) == (pytest.approx(0.48), COUNT)
        got = video.read([5, 0, 7, 0]).numpy()
        assert [frame_number(frame) for frame in got] == [5, 0, 7, 0]
        assert np.array_equal(got[0], picture(5))
        assert [index for index, _ in video.frames([6, 2, 2])] == [2, 6]
        assert tuple(video.read([]).shape) == (0, 64, 96, 3)
        with pytest.raises(IndexError):
            video.read([COUNT])
        assert video.work.decoded == 0
    assert is_video("a.WEBP")


def test_transparency_is_left_away(tmp_path: Path) -> None:
    frames = numbered()
    for frame in frames:
        frame.putalpha(Image.fromarray(np.tile(np.arange(96, dtype=np.uint8) * 2 + 1, (64, 1))))
    path = write(tmp_path / "a.webp", frames, exact=True)
    with open_video(path) as video:
        assert [frame_number(frame) for frame in video.read(range(COUNT)).numpy()] == list(range(COUNT))
        assert video.info.fps == pytest.approx(25)


def test_partial_frames_lie_over_those_before(tmp_path: Path) -> None:
    frames = [Image.fromarray(picture(0)) for _ in range(5)]
    for i, frame in enumerate(frames):
        frame.paste((255, 0, 0), (10 * i, 5, 10 * i + 8, 15))
    path = write(tmp_path / "a.webp", frames, 0)
    with open_video(path) as video:
        for index, frame in video.frames(range(5)):
            assert np.array_equal(frame, np.asarray(frames[index]))
        assert video.info.fps == pytest.approx(10)  # as browsers show frames without a duration


def test_a_still_picture_is_no_video(tmp_path: Path) -> None:
    for mode in ("RGB", "RGBA"):
        Image.fromarray(picture(0)).convert(mode).save(tmp_path / "a.webp")
        with pytest.raises(UnreadableVideo, match="single picture"):
            probe(tmp_path / "a.webp")


@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.98])
def test_a_truncated_animation_says_so(tmp_path: Path, part: float) -> None:
    path = write(tmp_path / "a.webp", numbered())
    data = path.read_bytes()
    path.write_bytes(data[: max(32, int(len(data) * part))])
    with pytest.raises(UnreadableVideo, match="truncated"):
        probe(path)


def test_a_damaged_frame_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.webp", numbered())
    data = bytearray(path.read_bytes())
    at = data.rindex(b"VP8L")
    data[at + 8 : at + 400] = bytes(392)
    path.write_bytes(data)
    with open_video(path) as video, pytest.raises(UnreadableVideo, match="frame 7 of 8"):
        video.read([7])


@pytest.mark.parametrize("suffix", ["apng", "gif", "png"])
def test_other_animations_are_read_by_ffmpeg(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    frames = numbered()
    frames[0].save(
        path, format="GIF" if suffix == "gif" else "PNG", save_all=True, append_images=frames[1:], duration=40
    )
    with open_video(path) as video:
        assert [frame_number(frame) for frame in video.read(range(len(video))).numpy()] == list(range(COUNT))
