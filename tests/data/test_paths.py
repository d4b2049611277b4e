"""Paths in a table as people write them: they work where the file exists, or the message says what is odd."""

from __future__ import annotations

import csv
import os
import unicodedata
from pathlib import Path

import pytest

from kinema.data import find_videos
from kinema.data.manifest import read_manifest
from kinema.data.video import open_video
from kinema.errors import KinemaError, UnreadableVideo

there = {
    "a.mp4 ": "a.mp4",
    "  a.mp4": "a.mp4",
    "\ta.mp4\u00a0": "a.mp4",
    " lead.mp4": " lead.mp4",  # the file is called so
    "sub\\b.mp4": "sub/b.mp4",
    ".\\sub\\b.mp4 ": "sub/b.mp4",
    "odd\\name.mp4": "odd\\name.mp4",
    "~/a.mp4": "a.mp4",
    "file://{root}/sub/c%20d.mp4": "sub/c d.mp4",
    "file:{root}/a.mp4": "a.mp4",
    unicodedata.normalize("NFD", "caf\u00e9.mp4"): "caf\u00e9.mp4",
}


def table(root: Path, path: str) -> Path:
    with (root / "data.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label"), (path, "x")])
    return root / "data.csv"


@pytest.mark.skipif(os.sep != "/", reason="names that other systems do not allow")
@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("path", there)
def test_a_path_means_the_file_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, check: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in set(there.values()):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (sample,) = read_manifest(table(tmp_path, path.format(root=tmp_path)), check=check).samples
    assert sample.path == str(tmp_path / there[path])


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("gone.mp4 ", "spaces"),
        ("sub/ gone.mp4", "spaces"),
        ("C:\\videos\\gone.mp4", "a Windows path"),
        ("sub\\gone.mp4", "with \\"),
        ("a.mp3", "did you mean"),
    ],
)
def test_a_path_that_does_not_exist_is_told_with_what_is_odd(tmp_path: Path, path: str, told: str) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(KinemaError) as caught:
        read_manifest(table(tmp_path, path))
    assert repr(str(tmp_path / path)) in str(caught.value)
    assert told in str(caught.value)


def test_two_spellings_of_one_file_are_one_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "data.csv").write_text("path,label\na.mp4,x\na.mp4 ,x\n")
    with pytest.raises(KinemaError, match="line 3: repeats line 2"):
        read_manifest(tmp_path / "data.csv")


def test_a_test_and_a_prediction_say_what_is_odd_too(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert find_videos([f"{tmp_path}/a.mp4 "]) == [str(tmp_path / "a.mp4")]
    (sample,) = read_manifest(table(tmp_path, "gone.mp4 "), check=False).samples
    with pytest.raises(UnreadableVideo, match="no such file, and its path is one with spaces"):
        open_video(sample.path)
    with pytest.raises(UnreadableVideo, match=r"no such file$"):
        open_video(tmp_path / "gone.mp4")
