"""The best epoch is kept, a training ends early, and the split that chose is no test."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from kinema.cli import main
from kinema.errors import KinemaError
from kinema.evaluation import run_test
from kinema.recognizer import Recognizer
from kinema.training.config import Optim, TrainConfig
from kinema.training.module import Training
from kinema.training.run import train
from kinema.training.run_log import read_metrics

FIGURES = [0.5, 0.8, 0.8, 0.3, 0.7, 0.9]  # what the validation is made to say, epoch by epoch


def config(data: Path, out: Path, **changes: object) -> TrainConfig:
    base = TrainConfig(
        model="tsn_r18", data=str(data), out=str(out), options={"width": 0.0625},
        clip={"frames": 2, "short_side": 36, "crop": 32}, epochs=6, batch=12, workers=0, device="cpu",
        optim=Optim(lr=0.05), logger="none", val_split="test", keep="best",
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """Replaces the figures of the validation by `FIGURES`; collects the weights after each epoch."""
    seen: list[dict[str, torch.Tensor]] = []
    plain = Training.on_validation_epoch_end

    def look(self: Training) -> None:
        plain(self)
        self.val_figure = FIGURES[self.current_epoch]
        seen.append({k: v.detach().clone() for k, v in self.result.state_dict().items()})

    monkeypatch.setattr(Training, "on_validation_epoch_end", look)
    return seen


def holds(recognizer: Path, wanted: dict[str, torch.Tensor]) -> bool:
    found = load_file(recognizer / "model.safetensors")
    return all(torch.equal(value, wanted[k]) for k, value in found.items())


def test_the_best_epoch_is_kept_beside_the_last(
    tiny: Path, tmp_path: Path, said: list[dict[str, torch.Tensor]]
) -> None:
    lines: list[str] = []
    run = train(config(tiny, tmp_path / "run", epochs=4, ema=0.5), say=lines.append)
    assert holds(run / "recognizer", said[1])
    assert holds(run / "recognizer-last", said[3])
    assert not holds(run / "recognizer", said[2])
    assert any(line.startswith("kept: epoch 2 of 4") for line in lines)
    best, last = (Recognizer.load(run / name).card["training"]["selection"] for name in ("", "recognizer-last"))
    assert (best["kept"], best["epoch"], best["epochs"], best["split"]) == ("best", 2, 4, "test")
    assert best["selected"]
    assert (last["kept"], last["epoch"], last["best_epoch"], last["selected"]) == ("last", 4, 2, False)


@pytest.mark.parametrize(("patience", "ends"), [(1, 3), (2, 4), (3, 5), (4, 6), (0, 6)])
def test_a_training_ends_after_epochs_that_are_not_better(
    patience: int, ends: int, tiny: Path, tmp_path: Path, said: list[Any]
) -> None:
    run = train(config(tiny, tmp_path / "run", patience=patience, keep="last"), say=str)
    assert [row["epoch"] for row in read_metrics(run / "metrics.csv")] == list(range(1, ends + 1))
    assert holds(run / "recognizer", said[ends - 1])
    assert not (run / "recognizer-last").exists()
    chosen = Recognizer.load(run).card["training"].get("selection")
    assert (chosen is None) == (patience == 0)
    assert chosen is None or chosen["selected"]


def test_a_run_that_had_ended_early_does_not_go_on(tiny: Path, tmp_path: Path, said: list[Any]) -> None:
    given = config(tiny, tmp_path / "run", patience=2)
    train(given, say=str)
    for name in ("recognizer", "recognizer-last"):
        shutil.copytree(tmp_path / "run" / name, tmp_path / name)
        shutil.rmtree(tmp_path / "run" / name)  # as if it was killed after its last checkpoint
    before = len(said)
    train(given, say=str)
    assert len(said) == before
    for name in ("recognizer", "recognizer-last"):
        assert holds(tmp_path / "run" / name, load_file(tmp_path / name / "model.safetensors"))
    assert len(read_metrics(tmp_path / "run" / "metrics.csv")) == 4


def test_the_split_that_selected_is_no_test(
    tiny: Path, tmp_path: Path, said: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny.parent, data)
    text = (data / "manifest.csv").read_text(encoding="utf-8")
    (data / "manifest.csv").write_text(text.replace("1.mp4,go left,test", "1.mp4,go left,val"), encoding="utf-8")
    run = str(train(config(data, tmp_path / "run", val_split="val", epochs=3), say=str))
    for split in ("val", "all"):
        with pytest.raises(KinemaError, match=r"the split 'val'.*select epoch 2.*--split.*--force"):
            run_test(run, data, split=split, workers=0)
    last = run_test(f"{run}/recognizer-last", data, split="val", workers=0)
    assert (last.to_dict()["selection"]["tested_on_it"], last.out) == (False, tmp_path / "run" / "test-val-last")
    tested = run_test(run, data, workers=0).to_dict()["selection"]
    assert (tested["tested_on_it"], tested["kept"], tested["epoch"]) == (False, "best", 2)
    capsys.readouterr()
    assert main(["test", run, "--data", str(data), "--split", "val", "--workers", "0"]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["test", run, "--data", str(data), "--split", "val", "--workers", "0", "--force"]) == 0
    assert "TESTED ON THAT SPLIT" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "test-val" / "metrics.json").read_text())["selection"]["tested_on_it"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"keep": "best"}, "keep is best, which needs val_split"),
        ({"patience": 3}, "patience is 3, which needs val_split"),
        ({"keep": "best", "val_split": "train"}, "val_split 'train' is also the training split"),
        ({"patience": -1}, "patience is -1: give 0 or more"),
        ({"keep": "all"}, "keep 'all'.*best"),
    ],
)
def test_what_cannot_select_is_refused(changes: dict, sentence: str) -> None:
    with pytest.raises(KinemaError, match=sentence):
        TrainConfig("tsn_r18", "data", **changes)
