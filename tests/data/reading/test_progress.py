from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from data.odd_videos import FRAMES, picture, write_video
from PIL import Image

from kinema.data.reading import progress
from kinema.data.video import FrameFolder, VideoReader


@pytest.fixture
def beats() -> Iterator[list[int]]:
    counted: list[int] = []
    progress.watch(lambda: counted.append(1))
    yield counted
    progress.watch(None)


def test_every_packet_that_is_demuxed_or_decoded_is_a_sign_of_life(tmp_path: Path, beats: list[int]) -> None:
    with VideoReader(write_video(tmp_path / "a.ts"), memory=0) as video:
        assert len(beats) >= FRAMES
        beats.clear()
        video.read(range(FRAMES))
        assert len(beats) >= 2 * FRAMES


def test_so_is_every_picture_of_a_folder(tmp_path: Path, beats: list[int]) -> None:
    for i in range(3):
        Image.fromarray(picture(i)).save(tmp_path / f"{i}.png")
    with FrameFolder(tmp_path) as video:
        video.read([0, 1, 2])
    assert len(beats) == 3


def test_nobody_has_to_watch(tmp_path: Path, beats: list[int]) -> None:
    progress.watch(None)
    progress.beat()
    assert beats == []
