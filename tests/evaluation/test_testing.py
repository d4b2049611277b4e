"""`run_test`: what `kinema test` does, from Python."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from evaluation.mixed_data import VIDEOS, mixed_data, picture_sequence, recognizer
from tiny import write_video

from kinema.cli import main
from kinema.errors import KinemaError
from kinema.evaluation import run_test
from kinema.evaluation.runner import Progress
from kinema.evaluation.tested import open_test
from kinema.evaluation.testing import default_out, plan_test

FILES = ["ledger.csv", "metrics.json", "scores.parquet"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed_data(tmp_path_factory.mktemp("mixed data"))


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return recognizer().save(tmp_path / "rec")


def test_one_call_writes_what_the_command_writes(saved: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_test(saved, data, views=(2, 3), out="python", workers=0)
    words = ["test", str(saved), "--data", str(data), "--views", "2x3", "--out", "command", "--workers", "0", "--json"]
    assert main(words) == 0
    for name in FILES:
        assert Path("python", name).read_bytes() == Path("command", name).read_bytes(), name
    assert run.out == Path("python")
    printed = json.loads(capsys.readouterr().out)
    assert {**json.loads(json.dumps(run.to_dict())), "out": "command"} == printed
    assert run.plan.test.split == "test"
    assert run.result.train_majority == "sit"
    test = open_test("python", "test")
    np.testing.assert_array_equal(test.result.scores, run.result.scores)
    assert test.metrics == run.result.metrics


def test_the_files_go_to_the_run_or_into_this_folder(saved: Path, tmp_path: Path, data: Path) -> None:
    recognizer().save(tmp_path / "run" / "recognizer")
    assert default_out("run", "test") == Path("run/test-test")
    assert default_out(saved, "a/b") == Path("test-rec-a-b")
    assert default_out("hf-hub:org/name", "all") == Path("test-name-all")
    run = run_test("run", data, workers=0)
    assert run.out == Path("run/test-test")
    assert sorted(path.name for path in run.out.iterdir()) == FILES


def test_a_recognizer_in_memory_is_tested_without_files(data: Path, tmp_path: Path, saved: Path) -> None:
    before = sorted(tmp_path.iterdir())
    run = run_test(recognizer(), str(data), workers=0)
    assert run.out is None
    assert len(run.result.paths) == len(VIDEOS)
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(KinemaError, match=r"there: .*save the recognizer"):
        run_test(recognizer(), data, out="there", workers=0)


def test_remarks_come_before_the_first_video_is_read(data: Path, saved: Path) -> None:
    trained = recognizer()
    trained.card["training"] = {
        "config": {"data": str(data), "train_split": "test"},
        "labels_without_training_videos": ["jump"],
    }
    events: list[str] = []

    @contextmanager
    def progress(title: str) -> Iterator[Progress]:
        events.append(title)
        yield lambda done, expected: events.append(f"{done} of {expected}")

    run = run_test(trained, data, say=events.append, progress=progress, workers=0)
    assert events[0].startswith("note: split test contains training videos of this recognizer")
    assert events[1].startswith("warning: 1 label without a training video ('jump' in test)")
    assert events[2] == "testing videos"
    assert events[-1] == "11 of 11"
    assert run.remarks == tuple(events[:2])
    assert run_test(recognizer(), data, workers=0).remarks == ()


def test_all_videos_are_tested_without_a_majority_of_training(data: Path, saved: Path) -> None:
    plan = plan_test(saved, data, split="all")
    assert plan.train_labels is None
    assert plan.part.samples == plan.data.samples
    assert plan_test(saved, data).train_labels == [s.label for s in plan.data.split("train").samples]


def test_splits_in_capitals_are_found_and_know_their_training_videos(saved: Path, tmp_path: Path) -> None:
    for split, label in (("Train", "sit"), ("Train", "jump"), ("Test", "jump")):
        write_video(tmp_path / "d" / split / label / "a.mp4", picture_sequence(0, 8))
    run = run_test(saved, "d", workers=0)
    assert run.plan.test.split == "Test"
    assert run.result.metrics.coverage.expected == 1
    assert run.result.train_majority == "jump"  # the first of equally frequent ones


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"split": "tset"}, "tset"),
        ({"views": "3x2"}, "3x2"),
        ({"views": (0, 1)}, "0x1"),
        ({"batch": 0}, "batch 0"),
        ({"workers": -2}, "workers -2"),
        ({"out": "rec/card.json"}, "rec/card.json"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_written(
    change: dict[str, object], named: str, saved: Path, data: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(KinemaError, match=named):
        run_test(saved, data, **{"workers": 0, **change})  # type: ignore[arg-type]
    assert sorted(tmp_path.rglob("*")) == before


def test_another_test_is_not_overwritten(saved: Path, data: Path) -> None:
    run_test(saved, data, out="out", workers=0)
    before = Path("out/metrics.json").read_bytes()
    with pytest.raises(KinemaError, match=r"out: contains a test with other views \(1x1 there\)"):
        run_test(saved, data, views="2x1", out="out", workers=0)
    assert Path("out/metrics.json").read_bytes() == before
    assert run_test(saved, data, views="2x1", out="out", overwrite=True, workers=0).plan.views == (2, 1)


def test_clips_are_drawn_by_a_seed(
    saved: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same seed, the same scores, with any number of readers; another protocol is another test."""
    drawn = run_test(saved, data, views="3x1", random_clips=7, out="drawn", workers=0)
    fixed, again, other = (
        run_test(recognizer(), data, views="3x1", random_clips=seed, workers=workers)
        for seed, workers in ((None, 0), (7, 2), (8, 0))
    )
    np.testing.assert_array_equal(drawn.result.scores, again.result.scores)
    for unlike in (fixed, other):
        assert (drawn.result.scores != unlike.result.scores).any()
    values = json.loads(Path("drawn/metrics.json").read_text())
    assert values["test"]["views"] == "3x1, clips drawn with seed 7"
    assert values["views"]["random_clips"] == 7
    assert "seed 7" in values["protocol"]["sampler"]
    assert "seed 7" in values["protocol"]["randomness"]
    assert str(open_test("drawn", "drawn").result.views) == str(drawn.result.views)
    with pytest.raises(KinemaError, match="drawn: contains a test with other views"):
        run_test(saved, data, views="3x1", out="drawn", workers=0)
    with pytest.raises(KinemaError, match="random_clips is -1"):
        plan_test(saved, data, random_clips=-1)
    words = ["test", str(saved), "--data", str(data), "--views", "3x1", "--random-clips", "7", "--out", "drawn"]
    assert main([*words, "--workers", "0"]) == 0
    assert "clips drawn with seed 7" in capsys.readouterr().out
    assert json.loads(Path("drawn/metrics.json").read_text())["metrics"] == values["metrics"]
    assert main([*words, "--explain-views"]) == 0
    assert main([*words[:-3], "many"]) == 2
    assert "--random-clips" in capsys.readouterr().err
