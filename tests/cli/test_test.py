"""`kinema test` as a person types it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from evaluation.mixed_data import BAD, LABELS, mixed_data, picture_sequence, recognizer
from tiny import write_video

from kinema.cli import main
from kinema.evaluation import read_scores
from kinema.recognizer import Recognizer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed_data(tmp_path_factory.mktemp("mixed data"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recognizer().save(tmp_path_factory.mktemp("recognizers") / "rec")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main(["test", *map(str, words), "--workers", "0"])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def sentence(capsys: pytest.CaptureFixture[str], *words: object, status: int = 2) -> str:
    """The one line on stderr of a command that fails."""
    found, out, err = run(capsys, *words)
    assert (found, out, err.count("\n")) == (status, "", 1), (found, out, err)
    return err.removeprefix("kinema: ").strip()


def facts(out: str) -> dict[str, str]:
    lines = (line for line in out.splitlines() if "  " in line)
    return {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in lines}


def test_every_figure_stands_beside_its_coverage(
    saved: Path, data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, saved, "--data", data, "--views", "3x3")
    assert (status, err) == (0, "")
    found = facts(out)
    assert found["coverage"] == "11 expected / 6 read / 5 failed"
    assert "95 % interval" in found["top-1"]
    assert "5 unreadable counted as wrong" in found["top-1"]
    assert found["top-3"].startswith("54.5%")
    assert "3 labels" in found["top-3"]
    assert found["mean class"].endswith("all 3 classes")
    assert found["majority"].startswith(
        "36.4%  always predicting 'run, fast' (always predicting 'sit', the most frequent label"
    )
    assert found["majority"].endswith("in training: 36.4%)")
    assert found["views"].startswith("3x3 = 9 per video; all differ for 5 of 6 read, for 1 some are equal")
    assert found["protocol"].startswith("4 frames (segments), crop 32 of short side 36, softmax scores averaged")
    folder = here / "test-rec-test"
    assert found["files"] == "test-rec-test: metrics.json, scores.parquet, ledger.csv"
    assert sorted(p.name for p in folder.iterdir()) == ["ledger.csv", "metrics.json", "scores.parquet"]
    named = [line for line in out.splitlines() if line.startswith("unreadable: ")]
    assert len(named) == 5
    assert all(name in line for name, line in zip(BAD, named, strict=True))
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert found["top-1"].startswith(f"{metrics['metrics']['top1']:.1%}")
    assert len(read_scores(folder).paths) == 11


def test_json_is_what_the_file_holds(saved: Path, data: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, saved, "--data", data, "--json", "--out", "größe")
    values = json.loads(out)
    assert status == 0
    assert values.pop("out") == "größe"
    assert values == json.loads((here / "größe" / "metrics.json").read_text("utf-8"))
    assert values["metrics"]["coverage"]["failed"] == 5


def test_strict_fails_after_the_work_is_saved(
    saved: Path, data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, saved, "--data", data, "--strict", "--out", "strict")
    assert status == 1
    assert "11 expected / 6 read / 5 failed" in out
    assert err == "kinema: 5 of 11 videos could not be read; see strict/ledger.csv\n"
    with (here / "strict" / "ledger.csv").open(encoding="utf-8", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == BAD


def test_only_the_first_failures_are_printed(saved: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(here / "d" / "sit" / "a.mp4", picture_sequence(0, 8))
    for i in range(24):
        (here / "d" / "sit" / f"bad {i}.mp4").write_bytes(b"")
    status, out, _ = run(capsys, saved, "--data", "d", "--split", "all")
    assert status == 0
    assert sum(line.startswith("unreadable: ") for line in out.splitlines()) == 20
    assert "… and 4 more; see test-rec-all/ledger.csv" in out


def test_nothing_readable_is_a_failed_run(saved: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "d.csv").write_text("path,label,split\ngone.mp4,sit,test\n", encoding="utf-8")
    message = sentence(capsys, saved, "--data", "d.csv", status=1)
    assert message == "d.csv: none of 1 videos could be read (first gone.mp4: there is no such file); check the paths"
    assert not (here / "test-rec-test").exists()


def test_a_run_folder_keeps_its_tests(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    recognizer().save(folder / "recognizer")
    assert run(capsys, folder, "--data", data)[0] == 0
    assert run(capsys, folder, "--data", data)[0] == 0  # the same test again replaces its own files
    before = (folder / "test-test" / "metrics.json").read_bytes()
    message = sentence(capsys, folder, "--data", data, "--views", "2x1")
    assert message.endswith("contains a test with other views (1x1 there); give another --out, or --overwrite")
    assert (folder / "test-test" / "metrics.json").read_bytes() == before
    assert run(capsys, folder, "--data", data, "--views", "2x1", "--overwrite")[0] == 0
    assert json.loads((folder / "test-test" / "metrics.json").read_text("utf-8"))["test"]["views"] == "2x1"


def test_a_test_of_training_videos_says_so(
    saved: Path, data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = Recognizer.load(saved)
    trained.card["training"] = {"config": {"data": str(data), "train_split": "test"}}
    trained.save(here / "trained")
    _, _, err = run(capsys, "trained", "--data", data)
    assert err.startswith("note: split test contains training videos of this recognizer")
    assert run(capsys, saved, "--data", data)[2] == ""


def test_labels_that_were_never_trained_are_told(
    saved: Path, data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = Recognizer.load(saved)
    for training in (
        {"config": {"data": str(data), "train_split": "train"}},  # as before cards told it
        {"labels_without_training_videos": ["run, fast", "jump"]},
    ):
        trained.card["training"] = training
        trained.save(here / "trained")
        _, _, err = run(capsys, "trained", "--data", data, "--out", "out", "--overwrite")
        assert err.count("\n") == 1
        assert err.startswith("warning: 2 labels without a training video ('jump' in test; 'run, fast' in test)")
    trained.card["training"] = {"labels_without_training_videos": []}
    trained.save(here / "trained")
    assert run(capsys, "trained", "--data", data, "--out", "out", "--overwrite")[2] == ""


def test_the_split_is_test_then_val_then_asked_for(saved: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(here / "a.mp4", picture_sequence(0, 8))
    table = here / "d.csv"
    table.write_text("path,label,split\na.mp4,sit,val\nb.mp4,jump,train\n", encoding="utf-8")
    assert run(capsys, saved, "--data", table)[1].startswith(f"{saved} on {table}, split val\n")
    table.write_text("path,label,split\na.mp4,sit,one\nb.mp4,jump,two\n", encoding="utf-8")
    assert sentence(capsys, saved, "--data", table).endswith(
        "has no split test or val: give one with --split: one, two, all"
    )
    assert "unknown split of" in sentence(capsys, saved, "--data", table, "--split", "ones")
    status, out, _ = run(capsys, saved, "--data", table, "--split", "all")
    assert status == 0
    assert "2 expected / 1 read / 1 failed" in out


def test_a_split_that_kinema_chose_is_announced(saved: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(3):
        write_video(here / "d" / "sit" / f"{i}.mp4", picture_sequence(i, 8))
    status, out, err = run(capsys, saved, "--data", "d")
    assert status == 0
    assert "1 expected / 1 read / 0 failed" in out
    assert err.startswith("note: d has no splits")


def test_views_are_explained_and_nothing_is_tested(
    saved: Path, data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(capsys, saved, "--data", data, "--views", "2x3", "--explain-views")
    assert status == 0
    assert "long one.mp4: 40 frames, 64x48" in out
    assert "clip 2: frames 7 17 27 37" in out
    assert "crop 3: 43x43 pixels from left 21, top 2, scaled to 32x32" in out
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--views", "10"], "views 10: give CLIPSxCROPS, such as 10x3 for ten clips with three crops each"),
        (["--views", "0x3"], "views 0x3: give at least 1 clip, such as 1x1"),
        (["--views", "3x2"], "views 3x2: give 1 crop (centre) or 3 crops (along the longer side)"),
        (["--batch", "0"], "--batch 0: give at least 1"),
        (["--workers", "-3"], "--workers -3: give 0 or more, or -1 for one per core"),
        (["--device", "cuda:77"], "--device cuda:77: not available here"),
        (["--vews", "1x1"], "unknown argument --vews: did you mean --views?"),
    ],
)
def test_bad_words_are_one_sentence(
    words: list[str], expected: str, saved: Path, data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["test", str(saved), "--data", str(data), "--workers", "0", *words])
    captured = capsys.readouterr()
    assert (status, captured.out) == (2, "")
    assert captured.err.startswith(f"kinema: {expected}")
    assert captured.err.count("\n") == 1
    assert list(here.iterdir()) == []


def test_bad_input_is_one_sentence(saved: Path, data: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such recognizer" in sentence(capsys, "nowhere", "--data", data)
    assert "no folder or CSV at 'nowhere.csv'" in sentence(capsys, saved, "--data", "nowhere.csv")
    other = recognizer(("jumping", *LABELS[1:])).save(here / "other")
    assert "unknown label 'jump': did you mean 'jumping'" in sentence(capsys, other, "--data", data)
    shutil.copytree(saved, here / "torn")
    (here / "torn" / "model.safetensors").write_bytes(b"half")
    assert "not a safetensors file" in sentence(capsys, "torn", "--data", data)
    (here / "out").mkdir()
    (here / "out" / "ledger.csv").write_text("path,error\n", "utf-8")
    message = sentence(capsys, saved, "--data", data, "--out", "out")
    assert message == "out: contains ledger.csv, which is not from a finished test; give another --out, or --overwrite"
