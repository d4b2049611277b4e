"""The learning rate as a function of time, in epochs."""

from __future__ import annotations

import math

from kinema.text import plural
from kinema.training.config import Optim


def factor(optim: Optim, epoch: float, epochs: int) -> float:
    """Returns the factor of the learning rate at a time of the training: schedule and warm-up.

    Args:
        optim: settings of the schedule.
        epoch: epochs that have passed, including the fraction of the current one.
        epochs: number of epochs of the whole training.
    """
    value = 1.0
    if optim.schedule == "cosine":
        value = 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / epochs)))
    elif optim.schedule == "step":
        value = optim.gamma ** sum(epoch >= m for m in optim.milestones)
    if epoch < optim.warmup:
        value *= 0.01 + 0.99 * epoch / optim.warmup
    return value


def unreached(optim: Optim, epochs: int) -> list[str]:
    """Lists the parts of the schedule that a training of `epochs` epochs never reaches, one sentence each."""
    found = []
    if optim.warmup >= epochs:
        training = plural(epochs, "epoch")
        found.append(f"optim.warmup is {optim.warmup:g} of {training}: the rate never reaches its full value")
    late = [m for m in optim.milestones if m >= epochs]
    if optim.schedule == "step" and late:
        found.append(f"optim.milestones {late} are at or after the end of {plural(epochs, 'epoch')} and have no effect")
    return found
