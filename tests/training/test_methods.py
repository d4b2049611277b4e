"""Twins, multigrid, augmentations, averages: each trains, repeats to the bit, and goes on where it was cut off."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kinema.clip_spec import ClipSpec
from kinema.data.photometric import Photometric
from kinema.data.transforms import Augment
from kinema.models import VideoModel, create_model
from kinema.recognizer import Recognizer
from kinema.training.config import Optim, TrainConfig
from kinema.training.module import Training
from kinema.training.multigrid import Multigrid, RateAt, Steps, all_steps, plan
from kinema.training.run import train
from kinema.training.run_log import read_metrics
from kinema.training.twins import Twins


def config(data: Path, out: Path, **changes: object) -> TrainConfig:
    base = TrainConfig(
        model="stm_r18", data=str(data), out=str(out), options={"width": 0.0625},
        clip={"frames": 4, "short_side": 40, "crop": 32}, epochs=2, batch=4, workers=0, device="cpu",
        optim=Optim(lr=0.05), augment=Augment(scale="jitter", jitter=(32, 44)), logger="none",
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def weights(run: Path) -> dict[str, Tensor]:
    return load_file(run / "recognizer" / "model.safetensors")


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class Stop(Exception):
    """Stands for whatever ends a run in the middle."""


METHODS: dict[str, dict[str, Any]] = {
    "twins": {"twins": Twins(weight=0.01), "photometric": Photometric(clips=1.0, odds={"grayscale": 0.5})},
    "twins apart": {"twins": Twins(weight=0.01, joint=False, centre=True)},
    "multigrid": {"multigrid": Multigrid("both")},
    "full epochs": {"multigrid": Multigrid("long", full_epochs=1), "batch": 2, "workers": 1},
    "long": {"multigrid": Multigrid("long", sub_batches=False)},
    "mixup": {"mixup": 0.4, "label_smoothing": 0.1},
    "balance": {"balance": "classes"},
    "average": {"ema": 0.9},
    "photometric": {"photometric": Photometric(clips=0.8)},
}


def test_the_correlation_loss_is_in_the_metrics(tiny: Path, tmp_path: Path) -> None:
    without, two = (
        read_metrics(train(config(tiny, tmp_path / str(weight), twins=Twins(weight=weight)), say=str) / "metrics.csv")
        for weight in (0.0, 0.01)
    )
    assert [row["twins_loss"] for row in without] == [None, None]
    assert all(0 < row["twins_loss"] < 2.1 for row in two)  # of two classes: 2 plus beta times 2 at most


@pytest.mark.parametrize("name", METHODS)
def test_cut_off_after_any_step_it_ends_with_the_same_bits(
    name: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = config(tiny, tmp_path / "whole", checkpoint_steps=1, **METHODS[name])
    whole = train(given, say=str)
    plain, steps = Training.training_step, 0

    def cut(self: Training, batch: dict, batch_idx: int) -> Tensor | None:
        nonlocal steps
        steps += 1
        if steps == 2:
            raise Stop
        return plain(self, batch, batch_idx)

    monkeypatch.setattr(Training, "training_step", cut)
    again = replace(given, out=str(tmp_path / "cut"))
    stops = 0
    while True:  # every process gets one step further
        steps = 0
        try:
            train(again, say=str)
            break
        except Stop:
            stops += 1
    assert stops >= 3
    assert same(weights(whole), weights(tmp_path / "cut"))
    for column in ("step", "lr", "train_loss", "train_top1"):
        rows, undisturbed = (read_metrics(run / "metrics.csv") for run in (tmp_path / "cut", whole))
        assert [row[column] for row in rows] == [row[column] for row in undisturbed]


def seen_by(
    given: TrainConfig, monkeypatch: pytest.MonkeyPatch, say: Callable[[str], object] = str
) -> list[tuple[int, ...]]:
    """The shapes of the clips that the network learns from."""
    shapes: list[tuple[int, ...]] = []
    plain = VideoModel.forward_features

    def look(self: VideoModel, x: Tensor) -> Tensor:
        if self.training:
            shapes.append(tuple(x.shape))
        return plain(self, x)

    monkeypatch.setattr(VideoModel, "forward_features", look)
    train(given, say=say)
    return shapes


def test_the_network_sees_the_shapes_of_both_cycles(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = config(tiny, tmp_path / "run", multigrid=Multigrid("both"), batch=1, epochs=1)
    shapes = seen_by(given, monkeypatch)
    wanted = plan(given.multigrid, samples=12, batch=1, frames=4, crop=32)
    assert shapes == [(s.clips, 3, s.frames, s.crop, s.crop) for s in wanted]
    assert sum(shape[0] for shape in shapes) == 12
    assert len(set(shapes)) > 2


@pytest.mark.parametrize(("rate_at", "first", "last"), [("full", 0.8, 0.1), ("first", 0.1, 0.0125)])
def test_the_learning_rate_goes_with_the_long_cycle(
    rate_at: RateAt, first: float, last: float, tiny: Path, tmp_path: Path
) -> None:
    grid = Multigrid("long", full_epochs=1, rate_at=rate_at)
    optim = Optim(lr=0.1, schedule="step", milestones=(2,))
    given = config(tiny, tmp_path, multigrid=grid, batch=1, epochs=3, optim=optim)
    steps = all_steps(grid, epochs=3, samples=12, batch=1, frames=4, crop=32)
    module = Training(create_model("stm_r18", num_classes=2, width=0.0625), ClipSpec(frames=4, crop=32), given, steps)
    schedule: Any = module.configure_optimizers()
    rates = []
    for _ in range(steps.before(3)):
        rates.append(schedule["optimizer"].param_groups[0]["lr"])
        schedule["optimizer"].step()
        schedule["lr_scheduler"]["scheduler"].step()
    usual = [0.1 * s.rate for s in plan(grid, samples=12, batch=1, frames=4, crop=32)]
    # In the last epoch all clips are at the full shape, and the schedule has taken its step.
    assert rates == pytest.approx([*usual, *usual, *[last / 10] * 12])
    assert (max(usual), min(usual)) == pytest.approx((first, last))


def test_the_last_epochs_take_every_clip_at_the_full_shape(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    given = config(
        tiny, tmp_path / "run", multigrid=Multigrid("long", full_epochs=1), batch=1, epochs=3, val_split="test",
        workers=1, checkpoint_steps=5,
    )  # fmt: skip
    usual, last = (plan(grid, samples=12, batch=1, frames=4, crop=32) for grid in (Multigrid("long"), Multigrid()))
    shapes = seen_by(given, monkeypatch, lines.append)
    assert shapes == [(s.clips, 3, s.frames, s.crop, s.crop) for s in (*usual, *usual, *last)]
    assert len(last) == 12 > len(usual)
    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [row["step"] for row in rows] == [len(usual), 2 * len(usual), 2 * len(usual) + 12]
    assert [row["val_videos"] for row in rows] == [6, 6, 6]
    told = [[line for line in lines if line.startswith(start)] for start in ("epoch", "  ")]
    assert len(told[0]) == 3
    assert len(told[1]) == 2 * len({(s.frames, s.rate) for s in usual})  # the phases of the first two epochs
    assert "the last epoch:" in lines[1]
    assert "12 steps, 12 clips, 100.0% of the pixels of full clips" in lines[1]


def test_multigrid_reports_its_phases(tiny: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    given = config(tiny, tmp_path / "run", multigrid=Multigrid("long"), batch=1, epochs=1)
    train(given, say=lines.append)
    phases = [line for line in lines if "clips/s" in line and "waiting for data" in line]
    assert len(phases) >= 3
    assert sum(int(line.split(":")[1].split()[0]) for line in phases) == 12


def test_twins_see_both_views_in_one_pass(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = config(tiny, tmp_path / "run", twins=Twins(weight=0.01), epochs=1)
    assert seen_by(given, monkeypatch) == [(8, 3, 4, 32, 32)] * 3


def test_each_sub_batch_of_twins_holds_both_views_of_its_clips() -> None:
    given = TrainConfig("stm_r18", "data", batch=2, twins=Twins(weight=0.01), multigrid=Multigrid("long"))
    module = Training(
        create_model("stm_r18", num_classes=2, width=0.0625), ClipSpec(frames=4, crop=32), given, Steps((), (), 1)
    )
    module._trainer = SimpleNamespace(world_size=1)  # type: ignore[assignment]
    seen: list[list[float]] = []

    def look(x: Tensor) -> Tensor:
        seen.append(x.flatten().tolist())
        return x.flatten(1)

    module.model.forward = look  # type: ignore[method-assign]
    views = [torch.arange(5.0).view(5, 1, 1, 1, 1) + start for start in (0, 10)]
    a, b = module._forward(list(views), 5)
    assert seen == [[0, 1, 10, 11, 2, 3, 12, 13, 4, 14]]
    assert module.sub_batches is not None
    assert module.sub_batches.modules[0].groups == [4, 4, 2]
    assert a.flatten().tolist() == [0, 1, 2, 3, 4]
    assert b.flatten().tolist() == [10, 11, 12, 13, 14]


def test_the_moving_average_is_what_is_saved(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With decay d the saved weights are sum over steps of (1 - d) d^(n - i) w_i, and d^(n - 1) of the first."""
    seen: list[Tensor] = []
    plain = Training.on_train_batch_end

    def look(self: Training, *args: Any) -> None:
        seen.append(self.model.classifier.weight.detach().clone())
        plain(self, *args)

    monkeypatch.setattr(Training, "on_train_batch_end", look)
    run = train(config(tiny, tmp_path / "run", ema=0.6), say=str)
    average = seen[0]
    for value in seen[1:]:
        average = 0.6 * average + 0.4 * value
    torch.testing.assert_close(weights(run)["classifier.weight"], average)
    assert not torch.allclose(average, seen[-1], atol=1e-6)


def test_frozen_batchnorm_keeps_its_statistics_in_a_training(tiny: Path, tmp_path: Path) -> None:
    start = train(config(tiny, tmp_path / "start", epochs=1), say=str)
    run = train(config(tiny, tmp_path / "run", weights=str(start), frozen_batchnorm=True, val_split="test"), say=str)
    model = Recognizer.load(start).model
    norms = [name for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    before, after = weights(start), weights(run)
    for name in norms:
        assert torch.equal(before[f"{name}.running_mean"], after[f"{name}.running_mean"])
        assert torch.equal(before[f"{name}.weight"], after[f"{name}.weight"])
    assert not torch.equal(before["stem.conv.weight"], after["stem.conv.weight"])


@pytest.mark.parametrize(("logger", "pattern"), [("csv", "csv/metrics.csv"), ("tensorboard", "tensorboard/events*")])
def test_the_logger_of_ones_choice_writes(logger: str, pattern: str, tiny: Path, tmp_path: Path) -> None:
    run = train(config(tiny, tmp_path / "run", logger=logger, epochs=1), say=str)
    assert list(run.glob(pattern))


def test_a_run_that_goes_on_keeps_what_its_csv_logger_wrote(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Training.training_step

    def cut(self: Training, batch: dict, batch_idx: int) -> Tensor | None:
        if self.current_epoch == 1:
            raise Stop
        return plain(self, batch, batch_idx)

    given = config(tiny, tmp_path / "run", logger="csv")
    monkeypatch.setattr(Training, "training_step", cut)
    with pytest.raises(Stop):
        train(given, say=str)
    monkeypatch.setattr(Training, "training_step", plain)
    train(given, say=str)
    for name, last in (("csv", 3), ("csv-2", 6)):
        with (tmp_path / "run" / name / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["step"]) for row in rows] == list(range(last - 3, last + 1))
        steps, epoch = rows[:-1], rows[-1]
        assert float(epoch["train_loss"]) == pytest.approx(sum(float(row["step_loss"]) for row in steps) / 3)
        assert float(epoch["lr"]) == float(steps[-1]["step_lr"]) < float(steps[0]["step_lr"])
