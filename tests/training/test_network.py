"""A run that is taken up again has the network that it began with, whatever became of the defaults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_card import change_default
from torch import Tensor

from kinema.errors import KinemaError
from kinema.models import find_model
from kinema.recognizer import Recognizer
from kinema.training.config import Optim, TrainConfig
from kinema.training.module import Training
from kinema.training.run import train


class Stop(Exception):
    """Stands for whatever ends a run in the middle."""


def config(data: Path, out: Path, **options: object) -> TrainConfig:
    return TrainConfig(
        model="tsm_r18", data=str(data), out=str(out), options={"width": 0.0625, **options},
        clip={"frames": 4, "short_side": 40, "crop": 32}, epochs=2, batch=6, workers=0, device="cpu",
        optim=Optim(lr=0.05), logger="none",
    )  # fmt: skip


def cut_off(given: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains one epoch and a step, and stops."""
    plain, steps = Training.training_step, 0

    def cut(self: Training, batch: dict, batch_idx: int) -> Tensor | None:
        nonlocal steps
        steps += 1
        if self.current_epoch == 1:
            raise Stop
        return plain(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "training_step", cut)
        with pytest.raises(Stop):
            train(given, say=str)


def weights(run: Path) -> dict[str, Tensor]:
    return load_file(run / "recognizer" / "model.safetensors")


@pytest.mark.parametrize(("option", "value"), [("fold", 2), ("causal", True), ("dropout", 0.9)])
def test_it_goes_on_with_the_options_that_it_began_with(
    option: str, value: object, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(config(tiny, tmp_path / "whole"), say=str)
    given = config(tiny, tmp_path / "cut")
    cut_off(given, monkeypatch)
    before = find_model("tsm_r18").options()[option].default
    change_default(monkeypatch, "tsm_r18", option, value)
    lines: list[str] = []
    run = train(given, say=lines.append)
    assert weights(run).keys() == weights(whole).keys()
    assert all(torch.equal(tensor, weights(whole)[name]) for name, tensor in weights(run).items())
    assert Recognizer.load(run).model.architecture == Recognizer.load(whole).model.architecture
    assert f"options that it began with: {option}={before!r} (the default is now {value!r})" in "\n".join(lines)
    other = train(config(tiny, tmp_path / "other"), say=str)  # what begins now has the new default
    assert not all(torch.equal(tensor, weights(whole)[name]) for name, tensor in weights(other).items())


def test_the_clips_are_those_that_it_began_with(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = config(tiny, tmp_path / "cut")
    cut_off(given, monkeypatch)
    file = tmp_path / "cut" / "network.json"
    kept = json.loads(file.read_text(encoding="utf-8"))
    kept["clip"]["mean"] = [0.1, 0.2, 0.3]  # as a network had it whose default is another now
    file.write_text(json.dumps(kept), encoding="utf-8")
    assert Recognizer.load(train(given, say=str)).spec.mean == (0.1, 0.2, 0.3)


def test_another_option_is_another_run_still(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(config(tiny, tmp_path / "cut", fold=4), monkeypatch)
    for given in (config(tiny, tmp_path / "cut"), config(tiny, tmp_path / "cut", fold=2)):
        with pytest.raises(KinemaError, match=r"contains another run, which differs in options\.fold"):
            train(given, say=str)


def test_a_run_of_an_earlier_version_goes_on_and_it_is_said(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = config(tiny, tmp_path / "cut")
    cut_off(given, monkeypatch)
    (tmp_path / "cut" / "network.json").unlink()
    lines: list[str] = []
    train(given, say=lines.append)
    assert "network.json is missing, because an earlier version began this run" in "\n".join(lines)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"architecture": {}}', '{"architecture": 1, "clip": 2}', "\x00"])
def test_a_damaged_file_is_one_sentence(text: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = config(tiny, tmp_path / "cut")
    if text == "":
        cut_off(given, monkeypatch)
    else:
        (tmp_path / "cut" / "checkpoints").mkdir(parents=True)
        (tmp_path / "cut" / "checkpoints" / "epoch-0001.ckpt").touch()
    (tmp_path / "cut" / "network.json").write_text(text, encoding="utf-8")
    with pytest.raises(KinemaError, match=r"network\.json: .*restore it") as caught:
        train(given, say=str)
    assert "\n" not in str(caught.value)
