"""A run that was cut off ends with the same bits, whichever options of the training it uses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from kinema.training.config import Optim, TrainConfig
from kinema.training.module import Training
from kinema.training.run import train
from kinema.training.run_log import read_metrics

OPTIONS: dict[str, dict] = {
    "adamw": {"optim": Optim(name="adamw", lr=0.002, beta2=0.9, weight_decay=0.1, decay_bias_norm=False)},
    "accumulate": {"batch": 2, "accumulate": 2, "mixup": 0.4, "ema": 0.9},
    "keep": {"keep": "best", "ema": 0.5},
    "patience": {"keep": "best", "patience": 1, "epochs": 5},
}


class Stop(Exception):
    """Stands for whatever ends a run in the middle."""


def config(data: Path, out: Path, **changes: object) -> TrainConfig:
    base = TrainConfig(
        model="tsn_r18", data=str(data), out=str(out), options={"width": 0.0625, "dropout": 0.5},
        clip={"frames": 2, "short_side": 36, "crop": 32}, epochs=3, batch=4, workers=0, device="cpu",
        optim=Optim(lr=0.05), logger="none", val_split="test", checkpoint_steps=1,
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def weights(run: Path) -> dict[str, dict[str, Tensor]]:
    """The tensors of every recognizer in a run folder."""
    return {file.parent.name: load_file(file) for file in sorted(run.glob("recognizer*/model.safetensors"))}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_cut_run_ends_with_the_same_bits(
    name: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(config(tiny, tmp_path / "whole", **OPTIONS[name]), say=str)
    plain, steps = Training.training_step, 0

    def cut(self: Training, batch: dict, batch_idx: int) -> Tensor | None:
        nonlocal steps
        steps += 1
        if steps in (2, 5):  # within the first epoch, and within the next one of what follows
            raise Stop
        return plain(self, batch, batch_idx)

    monkeypatch.setattr(Training, "training_step", cut)
    given = config(tiny, tmp_path / "cut", **OPTIONS[name])
    for _ in range(2):
        with pytest.raises(Stop):
            train(given, say=str)
    train(given, say=str)
    first, second = weights(whole), weights(tmp_path / "cut")
    assert first.keys() == second.keys() != set()
    for place, tensors in first.items():
        assert tensors.keys() == second[place].keys()
        assert all(torch.equal(tensors[k], second[place][k]) for k in tensors), place
    timed = ("seconds", "data_wait")
    rows, undisturbed = (
        [{k: v for k, v in row.items() if k not in timed} for row in read_metrics(run / "metrics.csv")]
        for run in (tmp_path / "cut", whole)
    )
    assert rows == undisturbed
