"""Which epoch of a training is kept, and when it ends early: both decided by the validation split."""

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
        epoch: from 1; of epochs with equal figures, the first.
        value: its figure on the validation split.
        weights: of the network that is validated, on the CPU; None where only the last epoch is kept.
    """

    epoch: int
    value: float
    weights: dict[str, Tensor] | None


class Selection(pl.Callback):
    """Keeps the weights of the best epoch, and ends the training after `patience` epochs that are not better.

    All of it is in the checkpoint, so that a run which continues after a stop keeps and ends as it would have.

    Args:
        config: its `keep` and `patience` decide.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.keep, self.patience = config.keep, config.patience
        self.best: Best | None = None
        self.epoch = 0  # epochs that have been validated

    @property
    def ended(self) -> bool:
        """Whether `patience` has run out."""
        return bool(self.patience) and self.best is not None and self.epoch - self.best.epoch >= self.patience

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends a run that had ended early, and was stopped before its recognizer was saved."""
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
        """Plain values and tensors for a checkpoint."""
        return {"epoch": self.epoch, "best": None if self.best is None else vars(self.best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the values of `state_dict`."""
        self.epoch = state_dict["epoch"]
        self.best = None if state_dict["best"] is None else Best(**state_dict["best"])

    def card(self, config: TrainConfig, kept: str, figure: str) -> dict[str, Any] | None:
        """The card entry about the chosen epoch; None where the validation split chose nothing.

        Args:
            config: of the run.
            kept: `best` or `last`: which epoch the recognizer is of.
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
            # The last epoch is not chosen by anything, unless the training ended where it did because of the split.
            "selected": kept == "best" or bool(self.patience),
        }
