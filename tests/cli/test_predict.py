"""`kinema predict` as a person types it."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from evaluation.mixed_data import BAD, GOOD, LABELS, SPEC, VIDEOS, picture_sequence, recognizer
from PIL import Image
from tiny import write_video

from kinema.cli import main
from kinema.data import find_videos
from kinema.data.manifest import read_manifest
from kinema.errors import KinemaError
from kinema.evaluation import evaluate


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main(["predict", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def json_rows(capsys: pytest.CaptureFixture[str], *words: object) -> list[dict]:
    _, out, _ = run(capsys, *words, "--json")
    return [json.loads(line) for line in out.splitlines()]


def test_every_input_has_a_row_and_failures_are_summed_up(
    saved: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, saved, *(data / name for name in VIDEOS), "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert [Path(row["path"]).name for row in rows] == list(VIDEOS)
    for row in rows:
        good = Path(row["path"]).name in GOOD
        assert (row["error"] is None) == good
        assert (row["label"] in LABELS) == good
        assert len(row["top_k"]) == (3 if good else 0)
        assert set(row) == {"path", "label", "score", "top_k", "t_start", "t_end", "error"}
    lines = err.splitlines()
    assert len(lines) == 6
    assert all(line.startswith("unreadable: ") and name in line for name, line in zip(BAD, lines, strict=False))
    assert lines[-1] == "kinema: 5 of 11 videos could not be read"


def test_prediction_equals_the_one_view_test(saved: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The trap: a demo that prepares clips differently from the test, and disagrees with it."""
    manifest = read_manifest(data / "videos.csv", check=False).split("test")
    tested = evaluate(recognizer(), manifest, workers=0)
    rows = json_rows(capsys, saved, *(data / name for name in VIDEOS))
    for row, label, scores in zip(rows, tested.predictions, tested.scores, strict=True):
        assert row["label"] == label
        if label is not None:
            assert dict(row["top_k"]) == pytest.approx(dict(zip(LABELS, scores.tolist(), strict=True)), abs=1e-5)
            assert row["score"] == row["top_k"][0][1] == max(s for _, s in row["top_k"])
            assert row["t_start"] == 0
            assert row["t_end"] == pytest.approx(VIDEOS[Path(row["path"]).name][1] / 12)  # type: ignore[operator]


def test_all_readable_is_status_0(saved: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, saved, data / "long one.mp4", data / "comma, here.mp4")
    assert (status, err) == (0, "")
    assert str(data / "long one.mp4") in out
    assert str(data / "comma, here.mp4") in out
    assert "3.33" in out  # seconds of 40 frames at 12 a second


def test_the_table_shows_unreadable_ones_and_names_with_brackets(
    saved: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / "clip [bold] [1].mp4"
    write_video(odd, picture_sequence(0, 6))
    status, out, _ = run(capsys, saved, odd, data / "zero.mp4", "--top-k", "1")
    assert status == 1
    assert str(odd) in out
    line = next(line for line in out.splitlines() if "zero.mp4" in line)
    assert line.split()[-3:] == ["–", "unreadable", "–"]


def test_a_picture_is_no_video(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "photo.jpg"
    Image.fromarray(picture_sequence(0, 1)[0]).save(picture)
    status, out, err = run(capsys, saved, picture, "--csv")
    assert status == 1
    assert out.splitlines()[1].startswith(f"{picture},,,")
    assert f"unreadable: {picture}: it is a single picture, not a video: give the folder that contains all" in err


def test_windows_cover_a_long_video_with_their_times(
    saved: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json_rows(capsys, saved, data / "long one.mp4", "--window", "1", "--step", "0.5")
    starts = [row["t_start"] for row in rows]
    assert starts == pytest.approx([0.5 * i for i in range(6)])
    assert [row["t_end"] - row["t_start"] for row in rows[:-1]] == pytest.approx([1.0] * 5)
    assert rows[-1]["t_end"] == pytest.approx(40 / 12)
    whole = json_rows(capsys, saved, data / "long one.mp4", "--window", "99")
    assert len(whole) == 1
    assert whole[0]["top_k"] == json_rows(capsys, saved, data / "long one.mp4")[0]["top_k"]
    status, out, _ = run(capsys, saved, data / "long one.mp4", "--window", "2")
    assert status == 0
    assert out.count("long one.mp4") == 2


def test_csv_has_the_same_columns_in_every_row(saved: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, saved, data / "comma, here.mp4", data / "zero.mp4", "--csv", "--top-k", "2")
    rows = list(csv.reader(io.StringIO(out)))
    assert status == 1
    assert rows[0] == ["path", "t_start", "t_end", "label", "score", "label_2", "score_2", "error"]
    assert [len(row) for row in rows] == [8, 8, 8]
    assert rows[1][0] == str(data / "comma, here.mp4")
    assert float(rows[1][4]) > float(rows[1][6]) > 0
    assert rows[2][1:7] == [""] * 6
    assert rows[2][7] != ""


def test_rows_go_to_stdout_while_a_bar_is_shown(
    saved: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kinema predict … --json > rows.jsonl` on a terminal: a bar must not take the rows along to stderr."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    status, out, err = run(capsys, saved, data / "long one.mp4", "--json")
    assert status == 0
    assert json.loads(out)["label"] in LABELS
    assert "long one.mp4" not in err
    assert "predicting videos" in err


def test_folders_globs_and_files_are_found(tmp_path: Path) -> None:
    for name in ("a.mp4", "deep/er/b.MKV", "deep/.hidden/x.mp4", "deep/._c.mp4", "deep/notes.txt", "clip[1].avi"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    frames = tmp_path / "deep" / "frames"
    frames.mkdir()
    for i in range(3):
        Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(frames / f"{i}.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "thumbnail.png")  # does not make a folder of videos a folder of frames
    (tmp_path / "deep" / "again").symlink_to(tmp_path, target_is_directory=True)

    def names(*inputs: object) -> list[str]:
        return [str(Path(p).relative_to(tmp_path)) for p in find_videos([str(i) for i in inputs])]

    assert names(tmp_path) == ["a.mp4", "clip[1].avi", "deep/er/b.MKV", "deep/frames"]
    assert names(frames) == ["deep/frames"]
    assert names(tmp_path / "*.mp4") == ["a.mp4"]
    assert names(tmp_path / "**" / "*.[mM]*") == ["a.mp4", "deep/er/b.MKV"]
    assert names(tmp_path / "d*p" / "**") == names(tmp_path / "d*p")
    through_link = ["deep/again/a.mp4", "deep/again/clip[1].avi"]
    assert names(tmp_path / "d*p") == [*through_link, "deep/er/b.MKV", "deep/frames"]
    assert names(tmp_path / "d*p" / ".hidden" / "*") == ["deep/.hidden/x.mp4"]
    assert names(tmp_path / "clip[1].avi") == ["clip[1].avi"]
    assert names(tmp_path / "a.mp4", tmp_path) == names(tmp_path)
    assert names(tmp_path / "deep" / "notes.txt", tmp_path / "gone.mp4") == ["deep/notes.txt", "gone.mp4"]


def test_relative_patterns_stay_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.mp4").touch()
    assert find_videos(["x/*.mp4"]) == ["x/a.mp4"]
    assert find_videos(["**/*.mp4"]) == ["x/a.mp4"]
    with pytest.raises(KinemaError, match="no video matches this pattern"):
        find_videos(["y*/*.mp4"])


def test_frame_folders_are_predicted(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i, image in enumerate(picture_sequence(3, 9)):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    rows = json_rows(capsys, saved, tmp_path)
    assert [row["path"] for row in rows] == [str(tmp_path)]
    assert rows[0]["label"] in LABELS
    assert rows[0]["t_end"] == pytest.approx(9 / 30)


def test_a_video_too_short_for_the_specification_is_a_row(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = recognizer(spec=SPEC.replace(pad="error")).save(tmp_path / "strict")
    rows = json_rows(capsys, strict, data / "tiny.mp4", data / "long one.mp4")
    assert "needs 4 frames but the video has 2" in rows[0]["error"]
    assert rows[1]["error"] is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["{empty}"], "no video in this folder"),
        (["{empty}/*.mp4"], "no video matches this pattern"),
        (["a.mp4", "--json", "--csv"], "--json and --csv exclude each other"),
        (["a.mp4", "--top-k", "0"], "--top-k 0: give at least 1"),
        (["a.mp4", "--step", "2"], "--step 2 needs --window"),
        (["a.mp4", "--window", "0"], "--window 0: give seconds with 0 < step <= window"),
        (["a.mp4", "--window", "2", "--step", "3"], "--window 2 --step 3: give seconds"),
        (["a.mp4", "--window", "2", "--step", "0"], "--window 2 --step 0: give seconds"),
        (["a.mp4", "--windw", "2"], "did you mean --window?"),
        ([], "VIDEOS must be given"),
    ],
)
def test_bad_words_are_one_sentence(
    words: list[str], expected: str, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, saved, *(word.format(empty=tmp_path) for word in words))
    assert (status, out) == (2, "")
    assert expected in err
    assert err.count("\n") == 1


def test_no_such_recognizer_is_one_sentence(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "nowhere", data)
    assert (status, out) == (2, "")
    assert "nowhere: there is no such recognizer" in err
