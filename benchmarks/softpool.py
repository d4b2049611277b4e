"""SoftPool, forward and backward, against a direct unfold and against average pooling: time and peak memory.

    python benchmarks/softpool.py [--rounds 15] [--threads 1] [--json]

Protocol: float32 clips of the shapes that MTNet-M pools at 16 x 224 x 224, in channels_last_3d memory as everywhere in
Kinema. The unfold is also measured in PyTorch's default memory format, where it is faster. First the results of all
implementations are compared. Required: at most a third of the unfold's memory, and faster.

Time: each implementation runs once per round, the first changes with every round, and two rounds of warm-up come first.
The script prints the median milliseconds and the median of the time over that of the unfold (in its faster memory
format), both for wall-clock and for processor time.

Memory (Linux only): each implementation runs in a separate process, with an allocator that returns freed memory at
once. The figure is the increase of the peak resident size by forward and backward, including the gradient of the clip.
The baseline has the clip and the gradient of the result in memory, after a small run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from kinema.evaluation.cost import environment
from kinema.ops import soft_pool
from kinema.ops.pooling import average_pool

SHAPES = [(1, 54, 16, 112, 112), (1, 54, 16, 56, 56), (2, 108, 16, 28, 28), (4, 216, 16, 14, 14), (4, 432, 16, 7, 7)]
LAST = torch.channels_last_3d
WARM_UP = 2


def unfold(x: Tensor) -> Tensor:
    """Computes the formula directly: windows, their softmax, the weighted sum."""
    h, w = x.shape[3] % 2, x.shape[4] % 2
    if h or w:
        x = F.pad(x, (0, w, 0, h), value=-1e30)
    windows = x.unfold(3, 2, 2).unfold(4, 2, 2).flatten(-2)
    return (windows.softmax(-1) * windows).sum(-1)


def average_3d(x: Tensor) -> Tensor:
    return F.avg_pool3d(x, (1, 2, 2), ceil_mode=True, count_include_pad=False)


# name -> pooling function, memory format
WAYS: dict[str, tuple[Callable[[Tensor], Tensor], torch.memory_format]] = {
    "kinema soft_pool": (soft_pool, LAST),
    "unfold, channels last": (unfold, LAST),
    "unfold, default memory": (unfold, torch.contiguous_format),
    "kinema average_pool": (average_pool, LAST),
    "torch avg_pool3d": (average_3d, LAST),
}
UNFOLDS = ("unfold, channels last", "unfold, default memory")


def made(way: str, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Returns the clip and the gradient of the result."""
    torch.manual_seed(0)
    memory = WAYS[way][1]
    x = torch.randn(shape).contiguous(memory_format=memory)
    size = (*shape[:3], -(-shape[3] // 2), -(-shape[4] // 2))
    return x.requires_grad_(), torch.randn(size).contiguous(memory_format=memory)


def both(way: str, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    out = WAYS[way][0](x)
    return out, torch.autograd.grad(out, x, gradient)[0]


def times(shape: tuple[int, ...], rounds: int) -> dict[str, dict[str, float]]:
    names = list(WAYS)
    data = {name: made(name, shape) for name in names}
    for name in names[1:]:
        group = "soft" if name in UNFOLDS else "average"
        reference = names[0] if group == "soft" else names[3]
        for a, b in zip(both(name, *data[name]), both(reference, *data[reference]), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    wall: dict[str, list[float]] = {name: [] for name in names}
    processor: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(WARM_UP + rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begin = time.perf_counter(), time.process_time()
            both(name, *data[name])
            wall[name].append(time.perf_counter() - begin[0])
            processor[name].append(time.process_time() - begin[1])
    best = min(UNFOLDS, key=lambda name: statistics.median(processor[name][WARM_UP:]))
    return {
        name: {
            "ms": 1e3 * statistics.median(wall[name][WARM_UP:]),
            "wall": _ratio(wall[name], wall[best]),
            "processor": _ratio(processor[name], processor[best]),
        }
        for name in names
    }


def _ratio(own: list[float], others: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(own[WARM_UP:], others[WARM_UP:], strict=True))


def peak(way: str, shape: tuple[int, ...], threads: int) -> float:
    """Returns the peak MiB of forward and backward; runs in a separate process."""
    torch.set_num_threads(threads)
    both(way, *made(way, (1, 16, 2, 8, 8)))
    x, gradient = made(way, shape)
    _resident_peak()  # making them took more than is held now: reset that peak
    before = _resident_peak()
    both(way, x, gradient)
    return (_resident_peak() - before) / 1024


def _resident_peak() -> int:
    """Returns the peak KiB since the last call."""
    lines = Path("/proc/self/status").read_text().splitlines()
    Path("/proc/self/clear_refs").write_text("5")
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def peaks(shape: tuple[int, ...], threads: int) -> dict[str, float]:
    os.environ["MALLOC_MMAP_THRESHOLD_"] = os.environ["MALLOC_TRIM_THRESHOLD_"] = "65536"  # inherited
    found = {}
    for way in WAYS:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            found[way] = pool.submit(peak, way, shape, threads).result()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="rounds; use at least 10 for reliable results")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report: dict[str, dict[str, dict[str, float]]] = {}
    for shape in SHAPES:
        rows = times(shape, arguments.rounds)
        memory = peaks(shape, arguments.threads)
        least = min(memory[name] for name in UNFOLDS)
        for name, row in rows.items():
            row |= {"mib": memory[name], "memory": memory[name] / least}
        report[" x ".join(map(str, shape))] = rows
    if arguments.json:
        json.dump({"machine": environment(), "rounds": arguments.rounds, "shapes": report}, sys.stdout, indent=1)
        return
    print("   ".join(f"{key} {value}" for key, value in environment().items()))
    print(f"forward and backward, float32, median of {arguments.rounds} rounds; ratios to the faster unfold\n")
    print(f"{'shape':<24}{'way':<26}{'ms':>9}{'wall':>8}{'processor':>11}{'peak MiB':>10}{'memory':>8}")
    for name, rows in report.items():
        first = name
        for way, row in rows.items():
            print(
                f"{first:<24}{way:<26}{row['ms']:>9.2f}{row['wall']:>8.3f}{row['processor']:>11.3f}{row['mib']:>10.1f}"
                f"{row['memory']:>8.3f}"
            )
            first = ""
    print("\nrequired of kinema soft_pool: time below 1, memory at most 0.333")


if __name__ == "__main__":
    main()
