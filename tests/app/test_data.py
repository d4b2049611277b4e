"""What the tab Data shows of a data set."""

from __future__ import annotations

import base64
import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import moving_square, write_video

from kinema.app.data import examined
from kinema.app.names import relative_to_data
from kinema.errors import KinemaError

BROKEN = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 40


def films(folder: Path, broken: str) -> Path:
    """A folder with two classes, and a file in the first one that cannot be read."""
    for right, label in enumerate(("go left", "go right")):
        (folder / label).mkdir(parents=True)
        write_video(folder / label / "a film.mp4", moving_square(np.random.default_rng(right), bool(right)))
    (folder / "go left" / broken).write_bytes(BROKEN)
    return folder


def test_paths_are_relative_to_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = films(tmp_path / "ward (2)" / "my set", "broken.mp4")
    link = tmp_path / "link"
    link.symlink_to(data)
    monkeypatch.chdir(tmp_path)
    for given in (str(data), str(link), "ward (2)/my set", "./link"):
        page = examined("my set", given)
        assert "<li>go left/broken.mp4: " in page and str(tmp_path) not in page and "ward (2)" not in page, given


def test_a_csv_may_name_videos_anywhere(tmp_path: Path) -> None:
    inside, outside = films(tmp_path / "set", "here.mp4"), films(tmp_path / "secret place" / "films", "there.mp4")
    table = inside / "labels.csv"
    with table.open("w", newline="") as file:
        videos = [path for folder in (inside, outside) for path in sorted(folder.rglob("*.mp4"))]
        csv.writer(file).writerows([("path", "label"), *((str(path), path.parent.name) for path in videos)])
    page = examined("set", str(table))
    assert "secret" not in page and str(tmp_path) not in page
    assert "<li>…/there.mp4: " in page and "<li>go left/here.mp4: " in page
    assert relative_to_data(str(table), "set")(f"{table} line 3") == "labels.csv line 3"


def test_no_sentence_shows_where_a_data_set_lies(tmp_path: Path) -> None:
    (tmp_path / "nothing in it").mkdir()
    table = tmp_path / "labels.csv"
    table.write_text("file,class\na.mp4,x\n")
    for name, data in (("set", table), ("gone", tmp_path / "gone"), ("empty", tmp_path / "nothing in it")):
        with pytest.raises(KinemaError) as refused:
            examined(name, str(data))
        assert str(tmp_path) not in str(refused.value), name
    with pytest.raises(KinemaError, match="/etc"):
        examined("/etc", None)


def test_pictures_of_the_videos_that_a_finding_is_about(tmp_path: Path) -> None:
    data = films(tmp_path / "set", "broken.mp4")
    for split in ("train", "test"):
        for label in ("go left", "go right"):
            (data / split / label).mkdir(parents=True)
            number = 4 * (split == "test") + 2 * (label == "go right")
            for i in range(2):
                clip = moving_square(np.random.default_rng(10 + number + i), bool(i))
                write_video(data / split / label / f"{i} <b>.mp4", clip)
    for label in ("go left", "go right"):
        for left in (data / label).iterdir():
            left.unlink()
        (data / label).rmdir()
    copy = data / "test" / "go left" / "copy.mp4"
    copy.write_bytes((data / "train" / "go left" / "0 <b>.mp4").read_bytes())
    page = examined("my set", str(data))
    alts = re.findall(r'<img alt="middle frame of (.*?)" src="data:image/jpeg;base64,(.*?)">', page)
    assert "identical files are in different splits" in page and alts
    assert any("go left" in name and "<b>" not in name for name, _ in alts)
    for _, jpeg in alts:
        assert max(Image.open(io.BytesIO(base64.b64decode(jpeg))).size) == 180
    assert str(tmp_path) not in page
