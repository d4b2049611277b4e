from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from miniatures import stub

from kinema.data.catalogues.files import DEPTH, Shelf, list_videos


def test_files_and_frame_folders(tmp_path: Path) -> None:
    for name in ("x/a.mp4", "x/a.json", "x/a.wav", "y/b.WEBM", "y/.a.mp4", "frames/c/00001.jpg", "frames/a/1.jpg", "d"):
        stub(tmp_path / name, 0, 0) if "." in name else (tmp_path / name).touch()
    assert list_videos(tmp_path, {"a", "b", "c", "d", "e"}) == {
        "a": [f"{tmp_path}/x/a.mp4", f"{tmp_path}/frames/a"],
        "b": [f"{tmp_path}/y/b.WEBM"],
        "c": [f"{tmp_path}/frames/c"],
    }


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    stub(tmp_path / "elsewhere/a.mp4", 0, 0)
    (tmp_path / "root").mkdir()
    (tmp_path / "root/videos").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/again").symlink_to(tmp_path / "root")
    found = list_videos(tmp_path / "root", {"a"})["a"]
    assert f"{tmp_path}/root/videos/a.mp4" in found
    assert len(found) <= DEPTH


def test_frame_folders_are_not_listed_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(30):
        stub(tmp_path / f"frames/{i}", 0, 0)
    listed = []
    plain = os.scandir

    def scandir(folder: str) -> Iterator:
        listed.append(Path(folder).name)
        return plain(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    found = list_videos(tmp_path, {str(i) for i in range(20)})  # ten more are of no annotated video
    assert len(found) == 20
    assert listed == [tmp_path.name, "frames"]


def test_which_file_is_meant(tmp_path: Path) -> None:
    found = {"v": ["/d/run/v.mp4", "/d/jump high/v.mp4"], "w": ["/d/run/w.mp4"], "f": ["/d/flat/f.mp4"]}
    shelf = Shelf(found, ["run", "Jump_High", "walk"], unique=False)
    assert shelf.paths(("v",), "Jump_High") == ["/d/jump high/v.mp4"]
    assert shelf.paths(("no", "v"), "run") == ["/d/run/v.mp4"]
    assert shelf.paths(("w",), "walk") == []  # that is the video of another class
    assert shelf.paths(("f",), "walk") == ["/d/flat/f.mp4"]
    alone = Shelf(found, ["run", "Jump_High", "walk"], unique=True)
    assert alone.paths(("w",), "walk") == ["/d/run/w.mp4"]
    assert alone.paths(("v",), "walk") == found["v"]
