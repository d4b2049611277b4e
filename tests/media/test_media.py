"""Uploads: what is refused, what is converted, and when files of a session are gone."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tiny import moving_square, write_video

from kinema.data.video import probe
from kinema.errors import KinemaError, UnreadableVideo
from kinema.media.conversion import convert
from kinema.media.limits import UploadLimits, check_file
from kinema.media.sessions import Sessions

LIMITS = UploadLimits()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "in.mkv", moving_square(np.random.default_rng(0), True))


def test_a_video_becomes_h264_in_mp4(video: Path, tmp_path: Path) -> None:
    assert check_file(video, LIMITS, name="in.mkv") == ".mkv"
    found = convert(video, tmp_path / "out.mp4", LIMITS, name="in.mkv")
    info = probe(tmp_path / "out.mp4")
    assert (info.codec, info.frames, info.width) == ("h264", 12, 48)
    assert found.lost == 0 and found.frames == 12 and found.seconds == pytest.approx(info.duration, abs=0.01)


@pytest.mark.parametrize(
    ("limits", "word"), [(UploadLimits(seconds=0.5), "0.5 s"), (UploadLimits(megapixels=0.001), "48x48")]
)
def test_limits_are_told_with_the_visitors_name(video: Path, tmp_path: Path, limits: UploadLimits, word: str) -> None:
    with pytest.raises(UnreadableVideo, match=rf"^my film: .*{word}") as error:
        convert(video, tmp_path / "out.mp4", limits, name="my film")
    assert str(tmp_path) not in str(error.value)
    assert list(tmp_path.iterdir()) == [video]


def test_what_is_no_video_is_refused_before_decoding(tmp_path: Path, video: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.mp4", "w") as archive:
        archive.writestr("a", "b")
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    (tmp_path / "concat.mkv").write_text("ffconcat version 1.0\nfile '/etc/passwd'\n")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "link.mkv").symlink_to(video)
    os.truncate(large := write_video(tmp_path / "large.mp4", np.zeros((2, 16, 16, 3), np.uint8)), 10 * 10**9)
    for name in ("archive.mp4", "list.mp4", "concat.mkv", "empty.mp4", "link.mkv", large.name, "absent.mp4"):
        with pytest.raises(UnreadableVideo, match=name):
            check_file(tmp_path / name, LIMITS, name=name)


def test_a_broken_video_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 40)
    assert check_file(broken, LIMITS, name="b") == ".mp4"
    with pytest.raises(UnreadableVideo, match=r"^b: "):
        convert(broken, tmp_path / "out.mp4", LIMITS, name="b")
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("field", ["megabytes", "seconds", "megapixels", "queue"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_limits_must_be_above_0(field: str, value: float) -> None:
    with pytest.raises(KinemaError, match=f"--limit-{field}"):
        UploadLimits(**{field: value})


def test_files_go_a_minute_after_the_last_page(tmp_path: Path) -> None:
    now = [0.0]
    sessions = Sessions(tmp_path / "all", clock=lambda: now[0])
    secret = sessions.new()
    sessions.enter(secret, "page 1")
    sessions.enter(secret, "page 2")
    file = sessions.find(secret).place(".mp4", "film.mp4")
    file.write_bytes(b"x")
    sessions.leave("page 1")
    now[0] = 100
    assert sessions.sweep() == 0
    assert sessions.file(secret, file.name) == (file, "film.mp4")
    sessions.leave("page 2")
    now[0] = 159
    assert sessions.sweep() == 0
    now[0] = 161
    assert sessions.sweep() == 1
    assert not file.exists()
    with pytest.raises(KinemaError, match="session"):
        sessions.find(secret)


def test_nobody_reaches_a_file_of_another(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "all")
    one, two = sessions.new(), sessions.new()
    file = sessions.find(one).place(".mp4", "film.mp4")
    file.write_bytes(b"x")
    (tmp_path / "secret.txt").write_text("s")
    for secret, name in [(two, file.name), (None, file.name), ("", file.name), (one, "../../secret.txt"),
                         (one, str(tmp_path / "secret.txt")), (two, f"../{file.parent.name}/{file.name}")]:  # fmt: skip
        with pytest.raises(KinemaError):
            sessions.file(secret, name)
    sessions.close()
    assert not (tmp_path / "all").exists()
