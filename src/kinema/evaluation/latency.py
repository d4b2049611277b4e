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
    arguments = (name, num_classes, frames, size, dict(options), batch, repeats, device, torch.get_num_threads())
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, *arguments).result()


def _measure(
    name: str, num_classes: int, frames: int, size: int, options: dict[str, Any], batch: int, repeats: int,
    device: str, threads: int,
) -> Latency:  # fmt: skip
    torch.set_num_threads(threads)
    model = create_model(name, num_classes=num_classes, **{**options, "frames": frames}).eval().to(device)
    clip = torch.randn(batch, 3, frames, size, size, device=device).contiguous(memory_format=torch.channels_last_3d)
    cuda = device.startswith("cuda")
    _resident_peak()  # importing torch took more than is held now: forget that peak
    before = _resident_peak()
    seconds = []
    with torch.inference_mode():
        for _ in range(WARM_UP + repeats):
            start = time.perf_counter()
            model(clip)
            if cuda:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    timed = np.array(seconds[WARM_UP:])
    peak = torch.cuda.max_memory_allocated() if cuda else _resident_peak() - before
    p50, p95 = np.percentile(timed, [50, 95]) * 1e3
    return Latency(float(p50), float(p95), float(batch * repeats / timed.sum()), peak / 2**20)


def _resident_peak() -> int:
    """Bytes this process has held in memory at the most, since the last call where the system can forget (Linux)."""
    status, forget = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        forget.write_text("5")
        return int(peak.split()[1]) * 1024
    import resource  # not on Windows

    peak_now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_now if sys.platform == "darwin" else peak_now * 1024
