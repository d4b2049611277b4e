"""Speed-up of 3x3 convolutions by Winograd's method in compiled programs, and the speed-up that is estimated for it.

    .venv/bin/python benchmarks/winograd.py [--threads N] [--precisions bfloat16 float32] [--rounds 15]

Each case is a chain of four convolutions of 3x3 with ReLU, compiled once as it is and once by Winograd's method. Both
are timed alternately, median [quartiles]. "estimated" is the speed-up on which `kinema.backends.winograd` bases its
choice. "error" is the largest difference from the chain in float64, in standard deviations of its output. Measure on a
machine that does nothing else; the whole run takes about five minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from kinema.backends.pytorch import compiled
from kinema.backends.winograd import Case, estimated_seconds
from kinema.evaluation.cost import environment
from kinema.memory import keep_freed_memory
from kinema.ops.layout import channels_last
from kinema.ops.winograd import Winograd

# Frames, height, width, channels of inputs and outputs.
CASES: tuple[Case, ...] = (
    (8, 56, 56, 64, 64),
    (8, 28, 28, 128, 128),
    (8, 14, 14, 256, 256),
    (8, 7, 7, 512, 512),
    (1, 14, 14, 256, 256),
    (32, 14, 14, 32, 32),
    (32, 7, 7, 64, 64),
    (16, 20, 20, 96, 96),
)
LAYERS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precisions", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as the commands do
    print(json.dumps({**environment(), "rounds": args.rounds}), flush=True)
    for precision in args.precisions:
        for case in CASES:
            measure(case, getattr(torch, precision), args.rounds)


@torch.no_grad()
def measure(case: Case, dtype: torch.dtype, rounds: int) -> None:
    torch.manual_seed(0)
    frames, height, width, channels, _ = case
    plain = nn.Sequential()
    for _ in range(LAYERS):
        plain.extend([nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()])
    pixels = torch.randn(frames, height, width, channels).permute(0, 3, 1, 2)
    expected = plain.double()(pixels.double())
    plain.float()
    other = nn.Sequential(*(Winograd(part) if isinstance(part, nn.Conv2d) else part for part in plain))
    channels_last(plain)
    x = pixels.to(dtype)
    programs = [compiled(torch.export.export(part.to(dtype), (x,), strict=False)) for part in (plain, other)]
    errors = [float((run(x) - expected).abs().max() / expected.std()) for run in programs]
    times = np.array([[seconds(run, x) for run in programs] for _ in range(rounds)])
    low, mid, high = np.quantile(times[:, 0] / times[:, 1], [0.25, 0.5, 0.75])
    plain_s, other_s = estimated_seconds(case, dtype)
    direct = 1000 * np.median(times[:, 0]) / LAYERS
    print(
        f"{str(dtype).removeprefix('torch.'):9} {frames:3} x {height} x {width} x {channels:<4} {direct:6.2f} ms, "
        f"Winograd {mid:.2f} [{low:.2f}, {high:.2f}] times as fast, estimated {plain_s / other_s:.2f}, "
        f"error {errors[0]:.1e} -> {errors[1]:.1e}",
        flush=True,
    )


def seconds(run: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Returns the seconds of one call."""
    began = time.perf_counter()
    run(x)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
