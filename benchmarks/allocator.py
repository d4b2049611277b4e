"""Forward passes and training steps with and without `kinema.memory.keep_freed_memory`.

    .venv/bin/python benchmarks/allocator.py [NETWORK ...] [--rounds 3] [--threads N]

Each measurement is a process of its own, because what an allocator has kept cannot be separated from what it gets
anew. A process runs 5 passes of one clip and 4 training steps of two clips, after one of each, and reports the medians
and its peak memory. Processes with and without the setting alternate. The table has the time without over the time
with it, median [lowest, highest] over the rounds, and the peak memory with it over that without.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from kinema.evaluation.cost import environment
from kinema.memory import keep_freed_memory
from kinema.models import create_model

NETWORKS = ("stm_r50", "r3d_50", "srtg_r3d_34", "slowfast_50", "cidc_i3d_50", "x3d_m", "mtnet_m")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--measure", choices=["keep", "default"], help="measure in this process, and print the numbers")
    args = parser.parse_args()
    if args.measure:
        torch.set_num_threads(args.threads)
        measure(args.networks[0], args.measure == "keep")
        return
    print(json.dumps({**environment(), "threads": args.threads, "rounds": args.rounds}), flush=True)
    print("network       ms without   with   forward            ms without   with   step               memory")
    for name in args.networks:
        ways = ("default", "keep")
        rounds = np.array([[measured(name, way, args.threads) for way in ways] for _ in range(args.rounds)])
        times = np.median(rounds, 0) * 1000
        ratios = rounds[:, 0] / rounds[:, 1]
        cells = [
            f"{times[0, i]:10.0f} {times[1, i]:6.0f}   {np.median(ratios[:, i]):.2f} "
            f"[{ratios[:, i].min():.2f}, {ratios[:, i].max():.2f}]"
            for i in (0, 1)
        ]
        print(f"{name:12}  {cells[0]:35}  {cells[1]:35}  {1 / np.median(ratios[:, 2]):.2f}", flush=True)


def measured(name: str, way: str, threads: int) -> list[float]:
    """Returns what `measure` prints in a new process."""
    words = [sys.executable, __file__, name, "--measure", way, "--threads", str(threads)]
    found = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    return [float(value) for value in found.split()]


def measure(name: str, keep: bool) -> None:
    """Prints the seconds of a forward pass and of a training step, and the peak memory in GiB."""
    if keep and not keep_freed_memory():
        raise SystemExit("the allocator cannot be set here: it is not glibc's, or the environment sets it")
    torch.manual_seed(0)
    network = create_model(name, num_classes=400)
    frames, side = network.clip_spec.frames, network.clip_spec.crop
    clips = torch.randn(2, 3, frames, side, side).contiguous(memory_format=torch.channels_last_3d)
    labels = torch.tensor([1, 2])
    sgd = torch.optim.SGD(network.parameters(), 0.001, momentum=0.9)

    def forward() -> None:
        with torch.no_grad():
            network(clips[:1])

    def step() -> None:
        sgd.zero_grad()
        F.cross_entropy(network(clips), labels).backward()
        sgd.step()

    network.eval()
    of_pass = median_seconds(forward, 5)
    network.train()
    of_step = median_seconds(step, 4)
    print(of_pass, of_step, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def median_seconds(call: Callable[[], None], repeats: int) -> float:
    """Returns the median seconds of a call, after one that is not timed."""
    times = []
    for _ in range(1 + repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return float(np.median(times[1:]))


if __name__ == "__main__":
    main()
