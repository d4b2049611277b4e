"""The gates of SRTG in a training: what is refused, what is noted, and how often they were open."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kinema.data.transforms import Augment
from kinema.errors import KinemaError
from kinema.ops import SqueezeRecursion
from kinema.training.config import Optim, TrainConfig
from kinema.training.module import Training
from kinema.training.run import train
from kinema.training.run_log import read_metrics


def config(data: Path, out: Path, **changes: object) -> TrainConfig:
    base: dict = {
        "clip": {"frames": 4, "short_side": 40, "crop": 32}, "workers": 0, "device": "cpu", "optim": Optim(lr=0.05),
        "augment": Augment(scale="jitter", jitter=(32, 44)),
    }  # fmt: skip
    return TrainConfig(data=str(data), out=str(out), **{**base, **changes})


def gated(**options: object) -> dict:
    return {"model": "srtg_r3d_34", "options": {"width": 0.0625, "gate": "hard", **options}, "epochs": 1, "batch": 12}


def test_gates_are_not_held_open_where_they_would_silence_the_trunk(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(KinemaError, match=r"gate_warmup is 1, but options\.fusion is mul"):
        train(config(tiny, tmp_path / "trunk", gate_warmup=1, **gated(fusion="mul")), say=str)
    for name, options in (("added", {"fusion": "add"}), ("inside", {"fusion": "mul", "placement": "mid"})):
        train(config(tiny, tmp_path / name, gate_warmup=1, **gated(**options)), say=str)


@pytest.mark.parametrize(
    ("options", "noted"),
    [
        ({"fusion": "mul"}, True),
        ({"fusion": "mul", "gate": "none"}, True),
        ({"fusion": "mul", "placement": "mid"}, False),
        ({"fusion": "add"}, False),
        ({"fusion": "residual"}, False),
    ],
)
def test_a_product_on_the_trunk_is_noted(options: dict, noted: bool, tiny: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    run = train(config(tiny, tmp_path / "run", **gated(**options)), say=lines.append)
    assert any(line.startswith("note: options.fusion is mul") for line in lines) is noted
    lines.clear()
    again = config(tiny, tmp_path / "again", weights=str(run), **gated(**options))
    train(again, say=lines.append)
    assert not any(line.startswith("note: options.fusion") for line in lines)  # its cells have learned


def test_open_gates_are_in_the_metrics_stage_by_stage(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean over the clips of the epoch, whose batches differ in size and in what their gates decide."""
    decisions = iter([[True] * 5, [True, False, False, False, True], [False, True]] * 2)

    def decide(self: SqueezeRecursion, squeezed: Tensor, other: Tensor) -> Tensor:
        return torch.tensor(current if self in first else [False] * len(squeezed))

    plain = Training.training_step
    first: set[nn.Module] = set()
    current: list[bool] = []

    def look(self: Training, batch: dict, batch_idx: int) -> Tensor | None:
        first.update(m for m in self.model.layer2[0].modules() if isinstance(m, SqueezeRecursion))
        current[:] = next(decisions)
        return plain(self, batch, batch_idx)

    monkeypatch.setattr(SqueezeRecursion, "_decide", decide)
    monkeypatch.setattr(Training, "training_step", look)
    lines: list[str] = []
    given = {**gated(fusion="residual"), "batch": 5, "epochs": 2}
    run = train(config(tiny, tmp_path / "run", **given), say=lines.append)
    rows = read_metrics(run / "metrics.csv")
    for row in rows:  # 8 of 12 clips passed one of the four gates of the second stage
        assert row["open_layer2"] == pytest.approx(8 / 12 / 4, rel=1e-5)
        assert [row[f"open_layer{i}"] for i in (1, 3, 4)] == [0, 0, 0]
    told = [line for line in lines if line.startswith("epoch")]
    assert all("gates open layer1 0%, layer2 17%, layer3 0%, layer4 0%" in line for line in told)
    plain_run = train(
        config(tiny, tmp_path / "plain", **{**gated(), "model": "r3d_34", "options": {"width": 0.0625}}), say=str
    )
    assert not any(key.startswith("open") for key in read_metrics(plain_run / "metrics.csv")[0])
