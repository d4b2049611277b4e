"""The lines and the progress bar that a training prints while it runs, and its `metrics.csv`."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from kinema.data.manifest import ABSENT
from kinema.errors import KinemaError
from kinema.ops.recurrence import open_rates
from kinema.progress import ProgressBar, on_terminal
from kinema.tables import write_csv
from kinema.text import plural
from kinema.training.module import OPEN, VAL_MAP, Training
from kinema.training.multigrid import BatchShape, phases

LEDGER = "training-ledger.csv"
COLUMNS = (  # and per stage with gates, `open_` and its name: share of clips for which they were open
    "epoch", "step", "lr", "train_loss", "twins_loss", "train_top1", "val_top1", "val_videos", "seconds", "data_wait",
)  # fmt: skip


class RunLog(pl.Callback):
    """Prints one line and writes one row of `metrics.csv` per epoch; shows a progress bar; writes the ledger.

    Args:
        path: path of `metrics.csv`, which is written anew after every epoch. `training-ledger.csv` beside it lists the
            videos that could not be read so far or are absent, if there are any.
        epochs: number of epochs of the whole training.
        say: prints a line.
        absent: videos that the annotation of the data lists but that do not exist.
    """

    def __init__(self, path: Path, epochs: int, say: Callable[[str], None], absent: Sequence[str] = ()) -> None:
        self.path, self.epochs, self.say, self.absent = path, epochs, say, absent
        self.rows: list[dict[str, Any]] | None = None  # None until the run has begun
        self.bar: ProgressBar | None = None
        self.began = self.step_began = time.perf_counter()
        self.seconds: list[float] = []  # per step of the epoch so far, including waiting
        self.waits: list[float] = []
        self.steps_here = self.done = self.steps = 0  # steps since this start; of the run so far; of the whole run

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock before the readers start and the first batch is read."""
        self.began = time.perf_counter()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reads the rows of the finished epochs if the run resumes, and shows the bar."""
        if self.rows is None:
            done = trainer.current_epoch  # for a checkpoint of an earlier version
            self.rows = [row for row in read_metrics(self.path) if row["epoch"] <= done] if done else []
        if on_terminal() and trainer.is_global_zero:
            assert isinstance(pl_module, Training)
            self.bar, self.steps = ProgressBar("training", "steps"), pl_module.steps.before(self.epochs)
            self.done = trainer.global_step
            self.bar.update(self.done, self.steps)
            self.bar.show()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Clears the times of steps and of waiting for the new epoch."""
        self.seconds, self.waits = [], []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Records how long the step waited for its batch, and starts its clock."""
        self.waits.append(batch["waited"])
        self.step_began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Records the time of the step and moves the bar."""
        self.seconds.append(self.waits[-1] + time.perf_counter() - self.step_began)
        self.steps_here += 1
        if self.bar is not None:
            self.done += 1
            self.bar.update(self.done, self.steps)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the epoch's row of `metrics.csv` and the ledger, and prints the lines of the epoch."""
        assert isinstance(pl_module, Training)
        tally = pl_module.meet()
        if not trainer.is_global_zero:
            return
        epoch, clips = trainer.current_epoch + 1, tally["clips"]
        learned: dict[str, float | None] = {"train_loss": None, "twins_loss": None, "train_top1": None}
        if clips:
            learned |= {"train_loss": tally["loss"] / clips, "train_top1": tally["hits"] / clips}
        if clips and pl_module.config.twins.weight:
            learned["twins_loss"] = tally["twins_loss"] / clips
        seconds, waited = sum(self.seconds), sum(self.waits)
        row = {
            "epoch": epoch,
            "step": trainer.global_step,
            "lr": pl_module.config.optim.lr * pl_module.rate(max(0, trainer.global_step - 1)),
            **learned,
            "val_top1": tally["val_hits"] / tally["val_videos"] if tally["val_videos"] else None,
            "val_videos": int(tally["val_videos"]) or None,
            **({VAL_MAP: pl_module.val_figure} if pl_module.multi_label and tally["val_videos"] else {}),
            "seconds": seconds,
            "data_wait": waited / max(1e-9, seconds),
            **{key: value / clips if clips else None for key, value in tally.items() if key.startswith(OPEN)},
        }
        rows = [*(self.rows or []), row]
        self._write(rows)
        self.rows = rows
        write_ledger(self.path.with_name(LEDGER), pl_module, self.absent)
        steps_left = pl_module.steps.before(self.epochs) - pl_module.steps.before(epoch)
        left = (time.perf_counter() - self.began) / max(1, self.steps_here) * steps_left  # steps cost the same
        val = "" if row["val_top1"] is None else f", val top-1 {row['val_top1']:.1%}"
        val += f", val mAP {row[VAL_MAP]:.1%}" if VAL_MAP in row else ""
        train = "no clip could be read"
        if clips:
            train = f"loss {row['train_loss']:.3f}, train top-1 {row['train_top1']:.1%}"
        gates = [f"{key.removeprefix(OPEN)} {row[key]:.0%}" for key in row if key.startswith(OPEN) and clips]
        opened = f", gates open {', '.join(gates)}" if gates else ""
        self._tell(
            f"epoch {epoch}/{self.epochs}: {train}{val}{opened}, "
            f"{row['seconds']:.1f} s of which {row['data_wait']:.0%} waiting for data, {_clock(left)} left",
            *self._phases(pl_module.steps.of(trainer.current_epoch)),
        )
        if trainer.logger is not None:
            shown = {k: float(v) for k, v in row.items() if v is not None and k not in ("epoch", "step")}
            shown |= {f"open_rate/{name}": rate for name, rate in open_rates(pl_module.model).items()}
            trainer.logger.log_metrics(shown, step=trainer.global_step)

    def _tell(self, *lines: str) -> None:
        """Prints lines, and hides the bar while doing so."""
        if self.bar is not None:
            self.bar.hide()
        for line in lines:
            self.say(line)
        if self.bar is not None:
            self.bar.show()

    def _phases(self, epoch: Sequence[BatchShape]) -> list[str]:
        """Returns one line per phase of a multigrid epoch: clips, time, speed and the share spent waiting for data."""
        found = phases(epoch)
        if len(found) < 2 or len(self.seconds) < len(epoch):  # a resumed epoch has not seen all steps
            return []
        lines = []
        for name, first, last in found:
            seconds, waits = sum(self.seconds[first : last + 1]), sum(self.waits[first : last + 1])
            steps, clips = last + 1 - first, sum(s.clips for s in epoch[first : last + 1])
            work = f"{plural(clips, 'clip')} in {plural(steps, 'step')}, {seconds:.1f} s"
            speed, share = clips / max(1e-9, seconds), waits / max(1e-9, seconds)
            lines.append(f"  {name}: {work}, {speed:.1f} clips/s, {share:.0%} waiting for data")
        return lines

    def state_dict(self) -> dict[str, Any]:
        """Returns the rows so far and the times of the current epoch, for a checkpoint."""
        return {"rows": self.rows, "seconds": self.seconds, "waits": self.waits}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores rows and times from a checkpoint; `metrics.csv` itself may be missing or older."""
        self.rows = state_dict.get("rows")
        self.seconds, self.waits = list(state_dict["seconds"]), list(state_dict["waits"])

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Removes the bar at the end of the run."""
        if self.bar is not None:
            self.bar.hide()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Removes the bar when the run fails."""
        if self.bar is not None:
            self.bar.hide()

    def _write(self, rows: list[dict[str, Any]]) -> None:
        more = dict.fromkeys(key for row in rows for key in row if key.startswith(OPEN) or key == VAL_MAP)
        columns = (*COLUMNS, *more)
        write_csv(self.path, columns, [[row.get(column) for column in columns] for row in rows])


def write_ledger(path: Path, module: Training, absent: Sequence[str]) -> None:
    """Writes the ledger: videos that could not be read, with reasons, then absent ones. Without any, writes no file."""
    if not (module.failures or module.val_failures or absent):
        return
    failed = sorted({**module.val_failures, **module.failures}.items())
    write_csv(path, ("path", "error"), [*failed, *((name, ABSENT) for name in absent)])


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads the rows of a `metrics.csv`: numbers, and None for empty cells. Returns an empty list if there is no file.

    Raises:
        KinemaError: the file is damaged.
    """
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                values: dict[str, Any] = {k: float(v) if v else None for k, v in row.items()}
                for key in ("epoch", "step", "val_videos"):
                    values[key] = None if values[key] is None else int(values[key])
                rows.append(values)
    except (OSError, ValueError, ArithmeticError, TypeError, KeyError, csv.Error) as error:
        raise KinemaError(f"{path}: no longer a valid table of training metrics ({error}); restore it") from error
    return rows


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
