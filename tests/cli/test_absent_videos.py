"""A catalogue of which videos are gone, from training to report: every figure says so, and the ledgers name them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from miniatures import lay_out
from tiny import moving_square, write_video

from kinema.cli import main
from kinema.data.manifest import read_manifest

MORE = "more that the annotation names"
TRAIN = [
    "--model", "stm_r18", "--options", "{width: 0.0625, dropout: 0.0}", "--clip",
    "{frames: 4, short_side: 40, crop: 32}", "--epochs", "1", "--batch", "2", "--workers", "0", "--device", "cpu",
    "--logger", "none", "--val_split", "val",
]  # fmt: skip


def put(path: Path, kind: int, number: int) -> None:
    write_video(path.with_suffix(".mp4"), moving_square(np.random.default_rng(10 * kind + number), kind == 0))


def trained(folder: Path, gone: tuple[str, ...]) -> tuple[Path, str]:
    """A run that is trained and tested, and its data; of six videos those with the names `gone` are not there."""
    data = lay_out("something_v2", folder / "data", put)
    for name in gone:
        next((folder / "data").rglob(f"{name}.mp4")).unlink()
    run = folder / "run"
    assert main(["train", *TRAIN, "--data", data, "--out", str(run)]) == 0
    assert main(["test", str(run), "--data", data, "--workers", "0"]) == 0
    return run, data


@pytest.fixture(scope="module")
def thinned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return trained(tmp_path_factory.mktemp("thinned"), ("2", "102", "103"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return trained(tmp_path_factory.mktemp("whole"), ())


def test_training_and_test_save_the_number_and_the_names(thinned: tuple[Path, str]) -> None:
    run, _ = thinned
    card = json.loads((run / "recognizer" / "card.json").read_text())
    assert card["training"]["coverage"] == {"expected": 2, "read": 2, "failed": 0, "absent": 2}
    ledger = (run / "training-ledger.csv").read_text().splitlines()
    assert ledger == ["path,error", *(f'{name},"absent, left out"' for name in ("2", "102", "103"))]
    metrics = json.loads((run / "test-val" / "metrics.json").read_text())["metrics"]
    assert metrics["coverage"] == {"expected": 1, "read": 1, "failed": 0, "absent": 1}
    assert metrics["majority"]["share"] == 1  # of the videos that are there
    assert (run / "test-val" / "ledger.csv").read_text() == 'path,error\n103,"absent, left out"\n'


def test_the_printed_facts_say_it(
    thinned: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = thinned
    words = ["test", str(run), "--data", data, "--split", "all", "--workers", "0", "--out", str(tmp_path), "--strict"]
    assert main(words) == 0  # what is absent is no failure
    out = " ".join(capsys.readouterr().out.split())
    assert f"3 expected / 3 read / 0 failed; 3 {MORE} are absent" in out
    assert "unreadable" not in out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["coverage"]["absent"] == 3


def test_comparison_and_report_say_it(
    thinned: tuple[Path, str], whole: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [str(whole[0]), str(thinned[0])]
    capsys.readouterr()
    assert main(["compare", *places]) == 0
    out = capsys.readouterr().out
    name = thinned[0].parent.name + "/run"
    assert out.splitlines()[1].startswith(f"note: {name} was tested without 1 video that the annotation names")
    assert f"1 {MORE} is absent" in out
    assert main(["compare", *places, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [found[side]["whole"]["absent"] for side in ("first", "second")] == [0, 1]
    assert main(["report", *places, "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert re.search(r"<td>absent</td><td class=n></td><td class=n>1</td>", page)
    assert f"2 expected / 2 read / 0 failed; 2 {MORE} are absent" in page  # of the training
    assert page.count(f"1 expected / 1 read / 0 failed; 1 {MORE} is absent") == 2  # tile and coverage
    assert "was tested without 1 video" in page
    assert "why it could not be read" not in page  # nothing failed


def test_a_packed_set_says_the_same(thinned: tuple[Path, str], tmp_path: Path) -> None:
    run, data = thinned
    packed, out = tmp_path / "packed", tmp_path / "test"
    assert main(["data", "pack", data, str(packed), "--workers", "1"]) == 0
    names = [line.split(",") for line in (packed / "absent.csv").read_text().splitlines()]
    assert sorted(names[1:]) == [["102", "train"], ["103", "val"], ["2", "train"]]
    manifest, before = read_manifest(packed), read_manifest(data)
    assert manifest.absent == before.absent
    assert main(["test", str(run), "--data", str(packed), "--split", "val", "--out", str(out), "--workers", "0"]) == 0
    coverage = json.loads((out / "metrics.json").read_text())["metrics"]["coverage"]
    assert coverage == {"expected": 1, "read": 1, "failed": 0, "absent": 1}
    source = Path(data.split(":", 1)[1])
    for name in ("2", "102", "103"):
        write_video(
            source / "20bn-something-something-v2" / f"{name}.mp4", moving_square(np.random.default_rng(1), True)
        )
    assert main(["data", "pack", data, str(packed), "--workers", "1"]) == 0  # they have come since
    assert not (packed / "absent.csv").exists()
    assert read_manifest(packed).absent == {}


def test_a_complete_set_says_nothing(whole: tuple[Path, str], tmp_path: Path) -> None:
    run, _ = whole
    assert json.loads((run / "recognizer" / "card.json").read_text())["training"]["coverage"]["absent"] == 0
    assert not (run / "training-ledger.csv").exists()
    assert (run / "test-val" / "ledger.csv").read_text() == "path,error\n"
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    assert "bsent" not in (tmp_path / "page.html").read_text()


def test_files_from_before_say_nothing_and_work(
    thinned: tuple[Path, str], whole: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(thinned[0], tmp_path / "old")
    for file, keys in (("recognizer/card.json", ("training",)), ("test-val/metrics.json", ("metrics",))):
        document = json.loads((run / file).read_text())
        for key in keys:
            del document[key]["coverage"]["absent"]
        (run / file).write_text(json.dumps(document))
    capsys.readouterr()
    assert main(["compare", str(whole[0]), str(run)]) == 0
    assert "absent" not in capsys.readouterr().out
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert page.count("1 expected / 1 read / 0 failed<") == 2
    assert "2 expected / 2 read / 0 failed<" in page
    assert "bsent" not in page
