"""Networks learn: configuration, loop, checkpoints, schedules."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinema.training.config import Optim, TrainConfig
    from kinema.training.run import train
    from kinema.training.twins import twins_loss

__all__ = ["Optim", "TrainConfig", "train", "twins_loss"]

_HOMES = {"Optim": "config", "TrainConfig": "config", "train": "run", "twins_loss": "twins"}


def __getattr__(name: str) -> Any:  # PEP 562, as in the package itself: `kinema --help` reads configurations alone
    if name in _HOMES:
        return getattr(import_module(f"kinema.training.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
