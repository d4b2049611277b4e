"""How the cores of a machine are shared between the processes that read videos and the network."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

MOST_READERS = 16  # for one process that computes: more have nothing to do beside one network, and cost memory
_CGROUP = Path("/sys/fs/cgroup")


def cores() -> int:
    """Cores that this process may use: by its affinity, and by the quota of its container."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, min(allowed, _quota()))


def _quota() -> int:
    """Cores that the container's CPU quota (cgroup v2, then v1) amounts to, rounded up; many where there is none."""
    for file, period in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = (_CGROUP / file).read_text().split()
            if period is not None:
                words.append((_CGROUP / period).read_text().strip())
            quota, span = int(words[0]), int(words[1])
        except (OSError, ValueError, IndexError):  # no such file, or `max`
            continue
        if quota > 0 and span > 0:
            return -(-quota // span)
    return sys.maxsize


def loader_workers(asked: int, processes: int = 1) -> int:
    """Processes that read videos for one process that computes.

    Args:
        asked: how many, or -1 for a share of the cores: all of them, divided by the processes that compute on this
            machine, at most `MOST_READERS`.
        processes: that compute here, where torchrun has not started them and said how many they are.
    """
    if asked >= 0:
        return asked
    return max(1, min(MOST_READERS, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", processes))))


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
