"""Limits for reading one sample, and their enforcement in a process."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import inf
from pathlib import Path

from kinema.errors import KinemaError

_GIB = 2**30


@dataclass(frozen=True)
class ReadLimits:
    """Limits for reading one sample; a sample that exceeds one counts as unreadable.

    Attributes:
        seconds: total time for one sample; waiting for the network does not count.
        stalled: seconds without any progress (no packet, no frame), which distinguishes a hang from a slow file.
        memory: GiB that a reader may allocate for a sample; enforced on Linux only.
    """

    seconds: float = 300.0
    stalled: float = 30.0
    memory: float = 4.0

    def __post_init__(self) -> None:
        for name in ("seconds", "stalled", "memory"):
            if not 0 < getattr(self, name) < inf:
                raise KinemaError(f"limits.{name} is {getattr(self, name)}: give a number above 0")


def limit_memory(limits: ReadLimits) -> None:
    """Limits the address space of this process to its current size plus `limits.memory`; does nothing outside Linux."""
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = pages * resource.getpagesize() + int(limits.memory * _GIB)
    if hard != resource.RLIM_INFINITY:
        bound = min(bound, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))


def is_out_of_memory(error: BaseException) -> bool:
    """True if an error says that memory could not be allocated; PyTorch raises a RuntimeError for it."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)
