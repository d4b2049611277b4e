"""What systems leave beside data is no data, wherever it lies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kinema.data import find_videos
from kinema.data.clutter import is_clutter
from kinema.data.manifest import read_manifest, survey
from kinema.data.video import is_video

FOLDERS = (
    "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", ".ipynb_checkpoints", "@Recycle",
    "lost+found", ".Trash-1000",
)  # fmt: skip
FILES = (".DS_Store", "Thumbs.db", "desktop.ini", "._a.mp4", "._000.jpg", "~$notes.mp4", "a.mp4:Zone.Identifier")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def litter(folder: Path) -> None:
    touch(*(folder / name for name in FILES))
    for name in FOLDERS:
        touch(folder / name / "wave" / "._0000.mp4", folder / name / "b.mp4", folder / name / "a.mp4" / "thumb.jpg")


def test_names() -> None:
    assert all(map(is_clutter, (*FOLDERS, *FILES)))
    assert not any(map(is_clutter, ("wave", "recycle", "a.mp4", "__a", "@home", "-id_01.mp4", "thumbs", "#1")))


@pytest.mark.parametrize("splits", [True, False])
def test_at_every_level_of_folders_of_classes(tmp_path: Path, splits: bool) -> None:
    places = ("train/", "test/") if splits else ("",)
    names = [f"{place}{kind}/{n}.mp4" for place in places for kind in ("run", "wave") for n in (0, 1)]
    names += [f"{'train/' if splits else ''}run/seq/00{n}.jpg" for n in range(3)]
    touch(*(tmp_path / name for name in names))
    clean = read_manifest(tmp_path)
    for folder in {tmp_path, *(parent for name in names for parent in (tmp_path / name).parents)}:
        if folder.is_relative_to(tmp_path):
            litter(folder)
    found = survey(tmp_path)
    assert found.manifest == clean
    assert found.findings == ()


def test_when_predict_searches(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.mp4", tmp_path / "in/sub/b.mp4", tmp_path / "in/seq/1.jpg", tmp_path / "in/seq/2.jpg")
    expected = [str(tmp_path / "in" / name) for name in ("a.mp4", "seq", "sub/b.mp4")]
    for folder in ("in", "in/sub", "in/seq"):
        litter(tmp_path / folder)
    assert find_videos([str(tmp_path / "in")]) == expected
    assert find_videos([str(tmp_path / "in/**/*.mp4")]) == [expected[0], expected[2]]
    assert find_videos([str(tmp_path / "in/@eaDir/b.mp4")]) == [str(tmp_path / "in/@eaDir/b.mp4")]  # named itself


def test_a_folder_of_clutter_alone_holds_no_frames(tmp_path: Path) -> None:
    litter(tmp_path)
    shutil.copy(tmp_path / "._000.jpg", tmp_path / ".1.jpg")
    assert not is_video(tmp_path)
