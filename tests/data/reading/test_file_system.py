"""Errors of the file system on behalf of one video are errors of that video."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data.odd_videos import picture, write_video
from PIL import Image

from kinema.data.reading import frame_folder
from kinema.data.video import FrameFolder, VideoReader, is_video, open_video, probe
from kinema.errors import UnreadableVideo

FAULTS = [errno.EIO, errno.ESTALE, errno.EACCES, errno.ENOTCONN]
SAID = "|".join(os.strerror(number) for number in FAULTS)


def failing(number: int) -> Callable[..., Any]:
    def fail(*arguments: object, **options: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", FAULTS)
@pytest.mark.parametrize("call", ["stat", "open", "exists", "is_file", "is_dir"])
def test_a_file_that_the_disk_does_not_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    path = write_video(tmp_path / "a.mp4", frames=3)
    monkeypatch.setattr(Path, call, failing(number))
    with pytest.raises(UnreadableVideo) as caught:
        open_video(path)
    assert caught.value.path == str(path)
    assert is_video(path) in (True, False)


@pytest.mark.parametrize("number", FAULTS)
def test_a_disk_that_fails_while_frames_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    path = write_video(tmp_path / "a.mp4")
    with VideoReader(path, memory=0) as video:
        monkeypatch.setattr(video._packets, "walk", failing(number))
        with pytest.raises(UnreadableVideo, match=SAID) as caught:
            video.read([20])
    assert caught.value.path == str(path)


@pytest.mark.parametrize("name", ["x" * 300 + ".mp4", "x" * 300, "a\0b.mp4", "/".join(["d" * 200] * 30) + "/a.mp4"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert is_video(path) == name.endswith(".mp4")
    for door in (open_video, probe, VideoReader, FrameFolder):
        with pytest.raises(UnreadableVideo) as caught:
            door(path)
        assert caught.value.path == str(path)


def folder_of(path: Path) -> Path:
    path.mkdir()
    for i in range(3):
        Image.fromarray(picture(i)).save(path / f"{i}.png")
    return path


@pytest.mark.parametrize("number", FAULTS)
def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    folder = folder_of(tmp_path / "f")
    monkeypatch.setattr(os, "scandir", failing(number))
    assert not is_video(folder)
    with pytest.raises(UnreadableVideo, match=SAID) as caught:
        open_video(folder)
    assert caught.value.path == str(folder)


@pytest.mark.parametrize("number", FAULTS)
def test_frames_that_cannot_be_read_after_they_were_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with FrameFolder(folder_of(tmp_path / "f")) as video:
        monkeypatch.setattr(frame_folder.Image, "open", failing(number))
        for read in (lambda: video.read([1]), lambda: video.info, lambda: list(video.frames([2]))):
            with pytest.raises(UnreadableVideo, match=r"frame \d\.png cannot be read"):
                read()


def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f")
    with FrameFolder(folder) as video:
        folder.rename(tmp_path / "g")
        with pytest.raises(UnreadableVideo, match=r"0\.png cannot be read"):
            video.read([0])


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="the administrator may read anything")
def test_permissions_that_are_taken_away(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=3)
    path.chmod(0)
    with pytest.raises(UnreadableVideo):
        open_video(path)
