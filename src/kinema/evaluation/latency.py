"""What a network costs, measured: latency, throughput and peak memory of the forward pass."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kinema.models import create_model

WARM_UP = 3


@dataclass(frozen=True)
class Latency:
    """Timings of the forward pass.

    Attributes:
        p50_ms: median milliseconds of one batch.
        p95_ms: 95th percentile of the same.
        clips_per_s: clips of all timed runs over their time.
        peak_mib: on a GPU, memory allocated at the most; on a CPU, by how much the forward passes raised the peak
            resident size of their process over what it was with the network and the clip loaded.
    """

    p50_ms: float
    p95_ms: float
    clips_per_s: float
    peak_mib: float

    def to_dict(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Ratio:
    """How many times as long as another network one takes, from runs that took turns.

    Attributes:
        median: of the ratios of all turns.
        low: their lower quartile.
        high: their upper quartile.
    """

    median: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)


def latency(
    name: str,
    *,
    num_classes: int,
    frames: int,
    size: int,
    options: Mapping[str, Any],
    batch: int = 1,
    repeats: int = 20,
    device: str = "cpu",
) -> Latency:
    """Runs the network on a random batch in a process of its own, whose peak memory is then its own too."""
    arguments = ((name,), num_classes, frames, size, dict(options), batch, repeats, device, torch.get_num_threads())
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        seconds, peak = pool.submit(_measure, *arguments).result()
    p50, p95 = np.percentile(seconds, [50, 95]) * 1e3
    return Latency(float(p50), float(p95), float(batch * repeats / seconds.sum()), peak / 2**20)


def latency_ratio(
    first: str,
    second: str,
    *,
    num_classes: int,
    frames: int,
    size: int,
    options: Mapping[str, Any],
    batch: int = 1,
    repeats: int = 20,
    device: str = "cpu",
) -> Ratio:
    """The time of one network over that of another: both run by turns on one batch, in a process of their own.

    What else the machine does slows two neighbouring runs alike, so it cancels out in the ratio of each turn; two
    `latency` measured one after the other it may slow differently.
    """
    names = (first, second)
    arguments = (names, num_classes, frames, size, dict(options), batch, repeats, device, torch.get_num_threads())
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        seconds, _ = pool.submit(_measure, *arguments).result()
    low, median, high = np.percentile(seconds[0] / seconds[1], [25, 50, 75])
    return Ratio(float(median), float(low), float(high))


def _measure(
    names: tuple[str, ...], num_classes: int, frames: int, size: int, options: dict[str, Any], batch: int,
    repeats: int, device: str, threads: int,
) -> tuple[NDArray[np.float64], int]:  # fmt: skip
    """Seconds of each network and turn, and the bytes of the peak."""
    torch.set_num_threads(threads)
    models = [
        create_model(n, num_classes=num_classes, **{**options, "frames": frames}).eval().to(device) for n in names
    ]
    clip = torch.randn(batch, 3, frames, size, size, device=device).contiguous(memory_format=torch.channels_last_3d)
    cuda = device.startswith("cuda")
    _resident_peak()  # importing torch took more than is held now: forget that peak
    before = _resident_peak()
    seconds = np.zeros((len(models), WARM_UP + repeats))
    with torch.inference_mode():
        for turn in range(WARM_UP + repeats):
            order = range(len(models)) if turn % 2 == 0 else reversed(range(len(models)))
            for i in order:
                start = time.perf_counter()
                models[i](clip)
                if cuda:
                    torch.cuda.synchronize()
                seconds[i, turn] = time.perf_counter() - start
    return seconds[:, WARM_UP:], torch.cuda.max_memory_allocated() if cuda else _resident_peak() - before


def _resident_peak() -> int:
    """Bytes this process has held in memory at the most, since the last call where the system can forget (Linux)."""
    status, forget = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        forget.write_text("5")
        return int(peak.split()[1]) * 1024
    if sys.platform == "win32":
        return _windows_peak()
    import resource

    peak_now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_now if sys.platform == "darwin" else peak_now * 1024


def _windows_peak() -> int:
    """The largest working set of this process, in bytes."""
    import ctypes

    # PROCESS_MEMORY_COUNTERS: two numbers of 32 bits, then eight as large as a pointer; the first of these is wanted.
    class Counters(ctypes.Structure):
        _fields_ = (("size", ctypes.c_uint32), ("faults", ctypes.c_uint32), ("sizes", ctypes.c_size_t * 8))

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    kernel.K32GetProcessMemoryInfo.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)
    counters = Counters(size=ctypes.sizeof(Counters))
    if not kernel.K32GetProcessMemoryInfo(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.size):
        raise ctypes.WinError(ctypes.get_last_error())  # type: ignore[attr-defined]
    return int(counters.sizes[0])
