"""Distributed processes, how they share the cores with reader processes, and the name and features of the CPU."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from kinema.errors import RunError

MOST_READERS = 16  # per computing process: more readers would be idle beside one network, and cost memory
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Rank:
    """Rank of this process, and the number of processes.

    Attributes:
        index: rank, from 0.
        world: number of processes.
    """

    index: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """True for the one process that writes files and prints."""
        return self.index == 0

    def device(self, name: str) -> str:
        """Returns the device for this process on a shared machine: `cuda` becomes `cuda:1` for the second process."""
        return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if name == "cuda" and self.world > 1 else name


def environment_rank(processes: int = 1) -> Rank:
    """Returns the rank of this process, from the variables that torchrun and Lightning set.

    Args:
        processes: how many processes will be started, if none has been started yet; this one is then the first.
    """
    world = int(os.environ.get("WORLD_SIZE", processes))
    return Rank(int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", 0))), world)


@contextmanager
def connected() -> Iterator[Rank]:
    """Connects the processes that torchrun has started, for the duration of the block; a single process stays alone."""
    here = environment_rank()
    if here.world > 1:
        # A process that is done waits for the slowest one; the default limit of half an hour may be too short.
        dist.init_process_group("gloo", timeout=timedelta(days=7))
    try:
        with together():
            yield here
    finally:
        if here.world > 1:
            dist.destroy_process_group()


@contextmanager
def together() -> Iterator[None]:
    """Explains in one sentence that another process, for which this one would wait, has ended.

    Raises:
        RunError: another process ended; the error of that process tells why.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_distributed() or not re.search(r"gloo|NCCL|Connection (closed|reset)", str(error)):
            raise
        raise RunError(
            "another process of this command ended early; see its error, and run the command again"
        ) from error


def connected_rank() -> Rank:
    """Returns the rank of this process among the connected ones."""
    return Rank(dist.get_rank(), dist.get_world_size()) if is_distributed() else Rank()


def all_reduce_sum(value: float) -> float:
    """Returns the sum of a number over all processes."""
    if not is_distributed():
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    summed = torch.tensor(float(value), dtype=torch.float64, device=device)
    dist.all_reduce(summed)
    return float(summed)


def all_gather_object(value: Any) -> list[Any]:
    """Returns the value of each process, in the order of their ranks."""
    if not is_distributed():
        return [value]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return found


def is_distributed() -> bool:
    """True if processes are connected."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def cores() -> int:
    """Returns the number of cores that this process may use, by its affinity and by its container's quota."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, min(allowed, _quota()))


def _quota() -> int:
    """Returns the container's CPU quota (cgroup v2, then v1) in cores, rounded up; a large number if there is none."""
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
    """Returns the number of reader processes for one computing process.

    Args:
        asked: the number, or -1 for a share of the cores: all cores divided by the processes that compute on this
            machine, at most `MOST_READERS`.
        processes: computing processes on this machine, if torchrun has not started them and set their number.
    """
    if asked >= 0:
        return asked
    return max(1, min(MOST_READERS, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", processes))))


@contextmanager
def room_for_readers(workers: int) -> Iterator[None]:
    """Leaves one core to the reader processes while a network computes.

    The threads of a network wait for each other many times per step. If one of them has to share its core, all of them
    wait: on two loaded cores, two threads were several times slower than one.
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
    """Treats denormal numbers as zero: they slow down training on a CPU several times."""
    tiny = torch.tensor([1e-40])
    was_on = bool(tiny.mul(1.0).eq(0).item())
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_on)


def cpu_name() -> str:
    """Returns the name of the CPU as Linux reports it, elsewhere as Python does."""
    return _cpuinfo(r"model name") or platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str]:
    """Returns the features of the CPU, such as `avx2`, from Linux's entry for the first core; empty if unknown."""
    return frozenset(_cpuinfo(r"(?:flags|Features)").split())


def _cpuinfo(key: str) -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.search(rf"^{key}\s*:\s*(.*)$", text, re.M)
    return found[1] if found else ""
