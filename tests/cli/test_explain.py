"""`kinema explain` as a person types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from data.plain_videos import write_video
from evaluation.mixed_data import BAD, GOOD, LABELS, VIDEOS, recognizer
from explain.films import decoded
from system_errors import as_nobody, small_disk

from kinema import Recognizer
from kinema.cli import main


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "a clip.mp4")


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main(["explain", *map(str, words), "--device", "cpu"])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize("kind", ["mp4", "gif", "png", "svg", "json"])
def test_one_video_becomes_one_file(
    saved: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    status, out, err = run(capsys, saved, video, "--out", tmp_path / f"x.{kind}")
    assert (status, err) == (0, "")
    assert (tmp_path / f"x.{kind}").stat().st_size > 500
    assert "cam" in out
    assert f"x.{kind}" in out


def test_every_video_has_its_file_and_one_that_cannot_be_read_costs_its_own(
    saved: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out_folder = tmp_path / "made" / "here"
    status, out, err = run(capsys, saved, *(data / name for name in VIDEOS), "--out", out_folder, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert [Path(row["path"]).name for row in rows] == list(VIDEOS)
    for row in rows:
        good = Path(row["path"]).name in GOOD
        assert (row["error"] is None) == good
        assert (row["file"] is not None) == good
        if good:
            assert row["label"] in LABELS
            assert Path(row["file"]).is_file()
    assert len(list(out_folder.iterdir())) == len(GOOD)
    assert all(any(name in line for line in err.splitlines()) for name in BAD)
    assert f"{len(BAD)} of {len(VIDEOS)} videos" in err


def test_methods_and_classes_stand_side_by_side_with_the_frames_of_the_source(
    saved: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(
        capsys, saved, video, "--method", "tube, cam", "--class", "top3", "--out", tmp_path / "x.mp4", "--json"
    )
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [row["method"] for row in rows] == ["tube"] * 3 + ["cam"] * 3
    assert [row["label"] for row in rows[:3]] == [row["label"] for row in rows[3:]]
    scores = [row["score"] for row in rows[:3]]
    assert scores == sorted(scores, reverse=True)
    assert {row["label"] for row in rows[:3]} == set(LABELS)
    times, found = decoded(tmp_path / "x.mp4")
    assert times == [Fraction(i, 25) for i in range(40)]
    one = run(capsys, saved, video, "--out", tmp_path / "y.mp4")
    assert one[0] == 0
    assert found[0].size > 4 * decoded(tmp_path / "y.mp4")[1][0].size


def test_a_class_by_name_or_number(
    saved: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for asked in (LABELS[1], "1"):
        _, out, _ = run(capsys, saved, video, "--class", asked, "--out", tmp_path / "x.json", "--json")
        (row,) = [json.loads(line) for line in out.splitlines()]
        assert row["label"] == LABELS[1]


def test_two_recognizers_stand_side_by_side(
    saved: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Recognizer.load(saved)
    other.spec = other.spec.replace(frames=3, sampler="dense", stride=2)
    other.save(tmp_path / "other")
    status, out, _ = run(capsys, saved, video, "--beside", tmp_path / "other", "--out", tmp_path / "x.svg", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [Path(row["recognizer"]).name for row in rows] == ["rec", "other"]
    assert len(rows[1]["frames"]) == 3
    assert rows[1]["span"] != rows[0]["span"]
    assert "other" in (tmp_path / "x.svg").read_text(encoding="utf-8")


def test_a_long_video_window_by_window(
    saved: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(capsys, saved, video, "--window", "0.5", "--out", tmp_path / "x.mp4", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert len(rows) == 4
    for k, row in enumerate(rows):
        assert all(0.5 * k <= time + 0.0200001 < 0.5 * k + 0.5 for time in row["times"])
    assert decoded(tmp_path / "x.mp4")[0] == [Fraction(i, 25) for i in range(40)]


def test_a_part_of_a_video(saved: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--start", "0.4", "--end", "1.2", "--json"]
    status, out, _ = run(capsys, saved, video, *words, "--out", tmp_path / "x.mp4")
    (row,) = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert all(0.4 <= time < 1.2 for time in row["times"])
    assert len(decoded(tmp_path / "x.mp4")[0]) == 20
    status, out, _ = run(capsys, saved, video, *words, "--out", tmp_path / "y.mp4", "--window", "0.25")
    assert status == 0
    assert [json.loads(line)["span"] for line in out.splitlines()] == [
        pytest.approx(span) for span in ([0.4, 0.65], [0.65, 0.9], [0.9, 1.15], [1.15, 1.2])
    ]
    status, _, err = run(capsys, saved, video, "--start", "100", "--out", tmp_path / "z.mp4")
    assert status == 1
    assert "a clip.mp4" in err


@pytest.mark.parametrize("words", [["--start", "1.1"], ["--window", "0.3"], ["--end", "0.01"]])
def test_what_does_not_suit_one_video_costs_that_one(
    saved: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    slow = write_video(tmp_path / "slow.mp4", frames=3, stamps=[0, 400, 800])
    status, out, err = run(capsys, saved, slow, video, *words, "--out", tmp_path / "out", "--format", "json", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    found = {Path(row["path"]).name for row in rows if row["error"] is None}
    assert "a clip.mp4" in found or words[0] == "--end"
    assert status == (0 if found == {"a clip.mp4", "slow.mp4"} else 1)
    assert len({row["path"] for row in rows}) == 2
    assert len(err.splitlines()) == (0 if status == 0 else 1 + len({"a clip.mp4", "slow.mp4"} - found))


def test_a_video_with_a_long_name_has_a_file_too(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = [write_video(tmp_path / ("ü" * 120 + f"{i}.mp4"), frames=4) for i in range(2)]
    status, _, _ = run(capsys, saved, *videos, "--out", tmp_path / "out", "--format", "json")
    assert status == 0
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_videos_of_one_name_get_files_of_their_own(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, name in (("a", "x.mp4"), ("b", "x.mp4"), ("c", "X.avi")):
        (tmp_path / folder).mkdir()
        write_video(tmp_path / folder / name, frames=12)
    videos = [tmp_path / "a/x.mp4", tmp_path / "b/x.mp4", tmp_path / "c/X.avi"]
    status, _, _ = run(capsys, saved, *videos, "--out", tmp_path / "out", "--format", "JSON")
    assert status == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"x.json", "x-2.json", "X-3.json"}


def test_each_method_has_its_own_layer(
    saved: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for layer, expected in (
        ("tube=layer4, gradcam=layer2", ["layer4", "layer2", "layer4"]),
        ("gradcam=layer3", ["layer4", "layer3", "layer4"]),
    ):
        words = ["--method", "tube,gradcam,attention", "--layer", layer, "--out", tmp_path / "x.json", "--json"]
        status, out, _ = run(capsys, saved, video, *words)
        assert status == 0
        assert [json.loads(line)["layer"] for line in out.splitlines()] == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "tub"], "did you mean 'tube'"),
        (["--method", ""], "--method"),
        (["--method", "tube,lime"], "'lime'"),
        (["--class", "go lefd"], "'go lefd'"),
        (["--class", "99"], "'99'"),
        (["--layer", "layer44"], "layer44"),
        (["--layer", "tube=layer44"], "layer44"),
        (["--method", "tube", "--layer", "tubes=layer4"], "did you mean 'tube'"),
        (["--layer", "tube=layer4"], "--layer tube=layer4"),
        (["--layer", "cam=layer4,cam=layer3"], "names cam twice"),
        (["--layer", "tube="], "--layer tube="),
        (["--layer", "layer4,tube=layer3"], "'layer4'"),
        (["--layer", ""], "''"),
        (["--out", "{}/x.webm"], "x.webm"),
        (["--out", "{}/x.mp4", "--format", "avi"], "avi"),
        (["--window", "0"], "--window 0"),
        (["--window", "nan"], "--window"),
        (["--start", "-1"], "--start -1"),
        (["--start", "2", "--end", "1"], "--end 1"),
        (["--window", "0.5", "--out", "{}/x.png"], "x.png"),
        (["--out", "{}/a clip.mp4"], "a clip.mp4: is the video itself"),
        (["--out", "{}/folder.mp4/../folder.mp4/x.mp4/y.mp4"], "x.mp4"),
        (["--out", "{}/a\0b.mp4"], "b.mp4"),
        (["--out", "{}/" + "n" * 300 + ".mp4"], "nnn.mp4"),
        (["--beside", "{}/nothing"], "nothing"),
        (["--metod", "tube"], "--method"),
    ],
)
def test_bad_input_is_one_sentence(
    saved: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "folder.mp4" / "x.mp4").write_text("a file where a folder should be")
    before = video.read_bytes()
    given = [word.format(tmp_path) for word in words]
    if "--out" not in given:
        given += ["--out", str(tmp_path / "out.mp4")]
    status, out, err = run(capsys, saved, video, *given)
    assert (status, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert video.read_bytes() == before
    assert not (tmp_path / "out.mp4").exists()


def test_one_file_for_several_videos_is_refused(
    saved: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_video(tmp_path / "b.mp4", frames=5)
    status, _, err = run(capsys, saved, video, other, "--out", tmp_path / "x.mp4")
    assert status == 2
    assert "x.mp4" in err


def test_a_folder_may_have_the_name_of_a_format(
    saved: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.mp4").mkdir()
    status, _, _ = run(capsys, saved, video, "--out", tmp_path / "results.mp4")
    assert status == 0
    assert [path.name for path in (tmp_path / "results.mp4").iterdir()] == ["a clip.mp4"]


def test_a_folder_that_may_not_be_written_is_named_before_anything_is_computed() -> None:
    with TemporaryDirectory() as name:
        shared = Path(name)
        shared.chmod(0o755)
        saved = recognizer().save(shared / "rec")
        video = write_video(shared / "a.mp4", frames=4)
        (shared / "closed").mkdir(mode=0o755)
        environment = os.environ | {"HOME": name, "MPLCONFIGDIR": name}
        outs = (shared / "closed" / "x.mp4", shared / "closed" / "deeper" / "x.mp4", shared / "closed")
        words = [["explain", str(saved), str(video), "--out", str(out), "--device", "cpu"] for out in outs]
        program = f"from kinema.cli import main\nprint([main(words) for words in {words!r}])"
        command = as_nobody([sys.executable, "-c", program])
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
        assert done.stdout.strip() == "[2, 2, 2]", done.stderr
        assert len(done.stderr.splitlines()) == 3
        assert all("closed" in line for line in done.stderr.splitlines())
        assert list((shared / "closed").iterdir()) == []


def test_a_full_disk_ends_the_run(saved: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    with small_disk(3000):
        status, _, err = run(capsys, saved, video, "--out", tmp_path / "out")
    assert status == 1
    assert "a clip.mp4: cannot be written" in err
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_of_frames_is_a_video(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    (tmp_path / "frames").mkdir()
    for i in range(6):
        Image.fromarray(np.full((48, 64, 3), 30 * i, np.uint8)).save(tmp_path / "frames" / f"{i:03}.png")
    status, _, _ = run(capsys, saved, tmp_path / "frames", "--out", tmp_path / "out")
    assert status == 0
    assert len(decoded(tmp_path / "out" / "frames.mp4")[0]) == 6
