"""`kinema splits` on UCF-101 in miniature: every official split is trained on and tested, once."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
from miniatures import CLASSES, TEST, TRAIN, lay_out, write
from tiny import moving_square, write_video

from kinema.cli import main
from kinema.evaluation.tested import open_test
from kinema.recipes import find, load, views_of_test

TINY = {
    "options.width": "0.0625", "clip.frames": "2", "clip.short_side": "36", "clip.crop": "32", "clip.test_crop": "34",
    "epochs": "1", "batch": "2", "workers": "0", "device": "cpu", "logger": "none", "weights": "null",
}  # fmt: skip
FILES = ("recognizer/model.safetensors", "test-test/metrics.json", "metrics.csv")


def words(data: str, *more: str) -> list[str]:
    return ["splits", "stm_ucf101", "--data", data, *(w for k, v in TINY.items() for w in (f"--{k}", v)), *more]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Split n tests the n-th video of each class and learns from the other two."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)

    def put(path: Path, kind: int, number: int) -> None:
        write_video(path, moving_square(rng, kind == 0, size=40))

    found = lay_out("ucf101", tmp_path / "ucf", put)
    names = [
        [f"{c}/v_{c.replace('Handstand', 'HandStand')}_g{i + 1:02d}_c01.avi" for c in CLASSES["ucf101"]]
        for i in range(TRAIN + TEST)
    ]
    for part in range(1, 4):
        for kind, keep in (("train", False), ("test", True)):
            lines = [name for i, pair in enumerate(names, 1) if (i == part) == keep for name in pair]
            write(tmp_path / f"ucf/ucfTrainTestlist/{kind}list{part:02d}.txt", "\n".join(lines) + "\n")
    return found


def times(out: Path, number: int) -> list[int]:
    return [(out / f"split-{number}" / file).stat().st_mtime_ns for file in FILES]


def test_three_trainings_three_tests_and_the_mean(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path("runs/stm_ucf101-splits")  # beside the folder of the recipe's one run
    failed = {"once": True}

    def fails_once(*args: Any, **values: Any) -> Any:
        if "split-2" in str(args[0]) and failed.pop("once", False):
            raise KeyboardInterrupt
        return run_test(*args, **values)

    from kinema.training.splits import run_test

    monkeypatch.setattr("kinema.training.splits.run_test", fails_once)
    assert main(words(data)) == 130
    assert not (out / "splits.json").exists()
    first = times(out, 1)
    assert not (out / "split-2/test-test").exists()

    capsys.readouterr()
    assert main(words(data, "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert times(out, 1) == first  # finished: neither trained nor tested again
    assert found.pop("out") == str(out)
    assert json.loads((out / "splits.json").read_text()) == found
    assert found["views"] == "10x3"  # as the header of the recipe says
    assert [split["split"] for split in found["splits"]] == [1, 2, 3]
    for n in range(1, 4):
        run = out / f"split-{n}"
        test = open_test(run, "x")
        assert [Path(path).stem[-7:-4] for path in test.result.paths] == [f"g{n:02d}"] * 2  # its own test list
        assert found["splits"][n - 1]["metrics"]["top1"] == test.metrics.top1
        assert "<html" in (run / "report.html").read_text()
    for name in ("top1", "topk", "mean_class"):
        figures = [split["metrics"][name] for split in found["splits"]]
        assert found["mean"][name] == pytest.approx(fmean(figures))
        assert found["spread"][name] == pytest.approx(stdev(figures))

    before = [times(out, n) for n in range(1, 4)]
    assert main(words(data)) == 0
    said = capsys.readouterr().out
    assert [times(out, n) for n in range(1, 4)] == before
    assert said.count("this run is finished") == said.count("this test is finished") == 3
    assert all(word in said for word in ("mean", "±", "6 expected / 6 read / 0 failed", "top-5", "split-3"))

    # Other views are another test: refused, then made anew where that is asked for.
    assert main(words(data, "--views", "1x1")) == 2
    assert "other views" in capsys.readouterr().err
    assert main(words(data, "--views", "1x1", "--random-clips", "4", "--overwrite")) == 0
    assert "1x1, clips drawn with seed 4 views" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "more", "sentence"),
    [
        ("ucf101/2:ucf", (), "names one official split; give ucf101:ucf"),
        ("kinetics400:ucf", (), "kinetics400 has only one official split"),
        ("ucf", (), "it is not a catalogue"),
        ("ucf101:nowhere", (), "nowhere"),
        ("ucf102:ucf", (), "'ucf101'"),
        ("ucf101:ucf", ("--views", "10x2"), "10x2"),
        ("ucf101:ucf", ("--test-batch", "0"), "test_batch is 0"),
        ("ucf101:ucf", ("--processes", "2"), "processes"),
        ("ucf101:ucf", ("--random-clips", "-1"), "random_clips is -1"),
        ("ucf101:ucf", ("--out", "run"), "run: is the folder of a single run"),
        ("ucf101:ucf", ("--out", "file"), "file: is a file"),
    ],
)
def test_bad_input_is_one_sentence_before_the_first_training(
    data: str, source: str, more: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run").mkdir()
    Path("run/config.yaml").write_text("model: x\n")
    Path("file").write_text("")
    assert main(words(source, *more)) == 2
    assert sentence in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_missing_list_is_told_before_the_first_training(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("ucf/ucfTrainTestlist/testlist03.txt").unlink()
    assert main(words(data)) == 2
    assert "testlist03.txt" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_the_views_of_a_recipe(tmp_path: Path) -> None:
    assert views_of_test(find("stm_ucf101")) == "10x3"
    copy = tmp_path / "stm_ucf101.yaml"
    copy.write_text(load("stm_ucf101").path.read_text())
    assert views_of_test(copy) is None
