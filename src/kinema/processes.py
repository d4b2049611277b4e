"""Which of several processes that train or test together this one is, and what they tell one another."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from kinema.errors import RunError


@dataclass(frozen=True)
class Place:
    """Which process of how many.

    Attributes:
        rank: from 0.
        world: number of processes.
    """

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """The one process that writes and speaks."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The device that is this process's own where it shares a machine: `cuda` becomes `cuda:1` for the second."""
        return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if name == "cuda" and self.world > 1 else name


def place(processes: int = 1) -> Place:
    """Where this process stands, from the variables that torchrun and Lightning set.

    Args:
        processes: how many are going to be started when nothing has started any yet; this one is then the first.
    """
    world = int(os.environ.get("WORLD_SIZE", processes))
    return Place(int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", 0))), world)


@contextmanager
def connected() -> Iterator[Place]:
    """Connects the processes that torchrun has started, each of which is in this block; one alone is by itself."""
    here = place()
    if here.world > 1:
        # One that is done waits for the slowest at the end; half an hour, the default, may be too little for that.
        dist.init_process_group("gloo", timeout=timedelta(days=7))
    try:
        with together():
            yield here
    finally:
        if here.world > 1:
            dist.destroy_process_group()


@contextmanager
def together() -> Iterator[None]:
    """Says in one sentence that another process has ended, for which this one would wait.

    Raises:
        RunError: so it is; what that process said itself tells why.
    """
    try:
        yield
    except RuntimeError as error:
        if not several() or not re.search(r"gloo|NCCL|Connection (closed|reset)", str(error)):
            raise
        raise RunError(
            "another process of this command ended early; see what it said, and give the command again"
        ) from error


def connection() -> Place:
    """The place of this process among those that are connected."""
    return Place(dist.get_rank(), dist.get_world_size()) if several() else Place()


def total(value: float) -> float:
    """The sum of a number over all processes."""
    if not several():
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    summed = torch.tensor(float(value), dtype=torch.float64, device=device)
    dist.all_reduce(summed)
    return float(summed)


def everyones(value: Any) -> list[Any]:
    """What each process holds, in the order of their ranks."""
    if not several():
        return [value]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return found


def several() -> bool:
    """Whether processes are connected."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
