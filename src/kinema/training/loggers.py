"""The Lightning logger of the user's choice, beside the `metrics.csv` that every run has."""

from __future__ import annotations

import os
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from kinema.errors import KinemaError
from kinema.training.config import TrainConfig


def logger(config: TrainConfig, out: Path) -> Logger | bool:
    """Returns the logger that `config.logger` names, which writes into the run folder; False for `none`.

    Raises:
        KinemaError: its package is not installed.
    """
    if config.logger == "none":
        return False
    if config.logger == "csv":
        # Lightning starts its file anew: a run that continues would lose what it has written before.
        names = (f"csv-{i}" if i > 1 else "csv" for i in count(1))
        return CSVLogger(out, name="", version=next(name for name in names if not (out / name).exists()))
    if config.logger == "tensorboard":
        return TensorBoardLogger(out, name="", version="tensorboard")
    if find_spec("wandb") is None:
        raise KinemaError("logger is wandb, but wandb is not installed: pip install wandb, or use tensorboard or csv")
    offline = os.environ.get("WANDB_MODE", "offline") == "offline"
    (out / "wandb").mkdir(parents=True, exist_ok=True)
    return WandbLogger(name=out.name, save_dir=out, project="kinema", offline=offline)
