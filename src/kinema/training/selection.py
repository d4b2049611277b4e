"""Selection of the epoch to keep, and early stopping, both by the validation split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from kinema.training.config import TrainConfig
from kinema.training.module import Training


@dataclass(frozen=True)
class Best:
    """The best epoch so far.

    Attributes:
        epoch: its number, from 1; the first of several epochs with equal metrics.
        value: its metric on the validation split.
        weights: weights of the validated network, on the CPU; None if only the last epoch is kept.
    """

    epoch: int
    value: float
    weights: dict[str, Tensor] | None


class Selection(pl.Callback):
    """Keeps the weights of the best epoch, and ends the training after `patience` epochs without improvement.

    All of it is stored in the checkpoint, so that a resumed run keeps and ends exactly as an uninterrupted one.

    Args:
        config: its `keep` and `patience` are used.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.keep, self.patience = config.keep, config.patience
        self.best: Best | None = None
        self.epoch = 0  # epochs that have been validated

    @property
    def ended(self) -> bool:
        """True if `patience` has run out."""
        return bool(self.patience) and self.best is not None and self.epoch - self.best.epoch >= self.patience

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends a run again that had ended early but was stopped before its recognizer was saved."""
        trainer.should_stop = trainer.should_stop or self.ended

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compares the epoch with the best one."""
        assert isinstance(pl_module, Training)
        self.epoch, value = trainer.current_epoch + 1, pl_module.val_figure
        if self.best is None or value > self.best.value:
            weights = None
            if self.keep == "best":
                weights = {k: v.detach().cpu().clone() for k, v in pl_module.result.state_dict().items()}
            self.best = Best(self.epoch, value, weights)
        trainer.should_stop = trainer.should_stop or self.ended

    def state_dict(self) -> dict[str, Any]:
        """Returns plain values and tensors for a checkpoint."""
        return {"epoch": self.epoch, "best": None if self.best is None else vars(self.best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the values of `state_dict`."""
        self.epoch = state_dict["epoch"]
        self.best = None if state_dict["best"] is None else Best(**state_dict["best"])

    def card(self, config: TrainConfig, kept: str, figure: str) -> dict[str, Any] | None:
        """Returns the card entry about the chosen epoch; None if the validation split chose nothing.

        Args:
            config: configuration of the run.
            kept: `best` or `last`: the epoch that the recognizer comes from.
            figure: column of `metrics.csv` that was compared.
        """
        if self.best is None or (self.keep == "last" and not self.patience):
            return None
        return {
            "kept": kept,
            "epoch": self.best.epoch if kept == "best" else self.epoch,
            "epochs": self.epoch,
            "figure": figure,
            "value": self.best.value,
            "best_epoch": self.best.epoch,
            "split": config.val_split,
            # The last epoch is not a selected one, unless the split decided when the training ended.
            "selected": kept == "best" or bool(self.patience),
        }
