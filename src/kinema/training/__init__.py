"""Training: configuration, loop, checkpoints, schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinema.lazy import lazy_names

if TYPE_CHECKING:
    from kinema.training.config import Optim, TrainConfig
    from kinema.training.run import train
    from kinema.training.twins import twins_loss

__all__ = ["Optim", "TrainConfig", "train", "twins_loss"]

_HOMES = {"Optim": "config", "TrainConfig": "config", "train": "run", "twins_loss": "twins"}

# `kinema --help` needs only the configurations
__getattr__ = lazy_names(__name__, {name: f"{__name__}.{home}" for name, home in _HOMES.items()})
