"""How the cores of a machine are shared between the processes that read videos and the network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def loader_workers(asked: int, processes: int = 1) -> int:
    """Processes that read videos; -1 is one a core, at most 8, shared by the processes that compute on this machine.

    Args:
        asked: how many, or -1.
        processes: that compute here, where torchrun has not started them and said how many they are.
    """
    if asked >= 0:
        return asked
    return max(1, min(8, cores()) // int(os.environ.get("LOCAL_WORLD_SIZE", processes)))


@contextmanager
def room_for_readers(workers: int) -> Iterator[None]:
    """Leaves one core to the reading processes while a network computes.

    The threads of a network wait for each other many times a step. Where one of them has to share its core, all of them
    stand still: on two loaded cores two threads were several times slower than one.
    """
    before = torch.get_num_threads()
    if workers > 0:
        torch.set_num_threads(max(1, min(before, cores() - 1)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Numbers too small for the normal format count as zero: they slow training on a CPU several times."""
    tiny = torch.tensor([1e-40])
    was_on = bool(tiny.mul(1.0).eq(0).item())
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_on)


def one_thread(worker: int) -> None:
    """For a process that reads videos: its core is enough for it."""
    torch.set_num_threads(1)
