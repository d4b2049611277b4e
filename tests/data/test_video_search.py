"""`find_videos` from Python: what `kinema predict` finds, a program finds too."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluation.mixed_data import mixed_data, recognizer

from kinema.data import find_videos
from kinema.errors import KinemaError, UnreadableVideo
from kinema.recognizer import Prediction


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a.avi", "sub/c.webm", "notes.txt", ".hidden.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_what_is_found_is_predicted(tmp_path: Path) -> None:
    mixed_data(tmp_path)
    videos = find_videos([tmp_path])
    found = list(recognizer().predict_many(videos, workers=0))
    assert len(found) == len(videos) > 3
    assert {type(answer) for answer in found} == {Prediction, UnreadableVideo}


def test_paths_and_texts_files_folders_and_patterns_may_be_mixed(folder: Path) -> None:
    all_of_it = [str(folder / name) for name in ("a.avi", "b.mp4", "sub/c.webm")]
    assert find_videos([folder]) == find_videos([str(folder)]) == find_videos(p for p in [folder]) == all_of_it
    assert find_videos([folder / "b.mp4", folder]) == [all_of_it[1], all_of_it[0], all_of_it[2]]
    assert find_videos([folder / "**" / "*.webm", (folder / "a.avi").as_uri()]) == [all_of_it[2], all_of_it[0]]
    assert find_videos([folder / "gone.mp4", folder / "notes.txt"]) == [
        str(folder / "gone.mp4"), str(folder / "notes.txt"),
    ]  # fmt: skip
    assert find_videos([]) == []


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ("clips/*.mp4", "inputs is 'clips/\\*.mp4': give a list"),
        (Path("clips"), "inputs is 'clips': give a list"),
        (["*.mp4"], r"\*\.mp4: no video matches"),
        (["**.mp4"], r"\*\*\.mp4: no"),
        (["rtsp://camera/1"], "rtsp://camera/1 is the address of a stream"),
        (["https://example.org/a.mp4"], "https://example.org/a.mp4 is an address"),
        (["empty"], "empty: no video in this folder"),
    ],
)
def test_what_gives_no_video_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: object, told: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KinemaError, match=told):
        find_videos(inputs)  # type: ignore[arg-type]
