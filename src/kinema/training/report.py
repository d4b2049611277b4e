"""What a person sees of a training while it runs, and the `metrics.csv` that stays."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kinema.files import replace_file
from kinema.ops.recurrence import open_rates
from kinema.training.module import Training

COLUMNS = ("epoch", "step", "lr", "train_loss", "train_top1", "val_top1", "val_videos", "seconds", "data_wait")


class Report(pl.Callback):
    """One line an epoch, a progress bar on a terminal, and one row of `metrics.csv` an epoch.

    Args:
        path: of `metrics.csv`; rows of epochs that a resumed run has not reached yet are dropped.
        epochs: of the whole training.
        say: prints a line.
    """

    def __init__(self, path: Path, epochs: int, say: Callable[[str], None]) -> None:
        self.path, self.epochs, self.say = path, epochs, say
        self.rows: list[dict[str, Any]] = []
        self.bar: Progress | None = None
        self.began = self.epoch_began = self.idle_since = time.perf_counter()
        self.waited = 0.0
        self.first_epoch = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes up the rows of the epochs that are done."""
        self.began = time.perf_counter()
        self.first_epoch = trainer.current_epoch
        self.rows = [row for row in read_metrics(self.path) if row["epoch"] <= trainer.current_epoch]
        if sys.stderr.isatty():
            from rich.console import Console

            self.bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps,"),
                TimeRemainingColumn(), TextColumn("left"), console=Console(stderr=True), transient=True,
            )  # fmt: skip
            steps = int(trainer.num_training_batches)
            self.bar.add_task("training", total=self.epochs * steps, completed=trainer.current_epoch * steps)
            self.bar.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clocks."""
        self.epoch_began = self.idle_since = time.perf_counter()
        self.waited = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The step has had to wait for its batch since the last one ended."""
        self.waited += time.perf_counter() - self.idle_since

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The next wait begins."""
        if self.bar is not None:
            self.bar.advance(self.bar.task_ids[0])
        self.idle_since = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the row and the line."""
        assert isinstance(pl_module, Training)
        tally, now = pl_module.tally, time.perf_counter()
        epoch, clips = trainer.current_epoch + 1, max(1, tally["clips"])
        row = {
            "epoch": epoch,
            "step": trainer.global_step,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "train_loss": tally["loss"] / clips,
            "train_top1": tally["hits"] / clips,
            "val_top1": tally["val_hits"] / tally["val_videos"] if tally["val_videos"] else None,
            "val_videos": tally["val_videos"] or None,
            "seconds": now - self.epoch_began,
            "data_wait": self.waited / max(1e-9, now - self.epoch_began),
        }
        self.rows.append(row)
        self._write()
        left = (now - self.began) / (epoch - self.first_epoch) * (self.epochs - epoch)
        val = "" if row["val_top1"] is None else f", val top-1 {row['val_top1']:.1%}"
        self.say(
            f"epoch {epoch}/{self.epochs}: loss {row['train_loss']:.3f}, train top-1 {row['train_top1']:.1%}{val}, "
            f"{row['seconds']:.1f} s of which {row['data_wait']:.0%} waiting for data, {_clock(left)} left"
        )
        if trainer.logger is not None:
            shown = {k: float(v) for k, v in row.items() if v is not None and k not in ("epoch", "step")}
            shown |= {f"open_rate/{name}": rate for name, rate in open_rates(pl_module.model).items()}
            trainer.logger.log_metrics(shown, step=trainer.global_step)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Takes the bar away."""
        if self.bar is not None:
            self.bar.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Likewise when the run fails."""
        if self.bar is not None:
            self.bar.stop()

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        replace_file(self.path, lambda part: part.write_text(text.getvalue(), encoding="utf-8"))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.csv`, numbers as numbers, empty cells as None; none where there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows: list[dict[str, Any]] = []
        for row in csv.DictReader(file):
            values: dict[str, Any] = {k: float(v) if v else None for k, v in row.items()}
            for key in ("epoch", "step", "val_videos"):
                values[key] = None if values[key] is None else int(values[key])
            rows.append(values)
        return rows


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
