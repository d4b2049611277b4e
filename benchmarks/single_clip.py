"""One clip on a CPU: 3-D networks with `kinema.ops.conv.Conv3d` against the same networks with `nn.Conv3d`.

    python benchmarks/single_clip.py [--models r3d_34 r3d_50 r2plus1d_50] [--sizes 112 224] [--rounds 15] [--json]

Protocol: one clip of 16 frames, random weights, 400 classes, inference mode. In each round the same network runs once
with each convolution; the first changes with every round, and two rounds of warm-up come first. The script prints the
median time, the median, with quartiles, of the time of `nn.Conv3d` over ours in the same round (above 1: ours is
faster), and the largest difference of the logits.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time

import torch
from torch import nn

from kinema.evaluation.cost import environment
from kinema.models import create_model
from kinema.ops.conv import Conv3d

WARM_UP = 2
WAYS = {"ours": Conv3d.forward, "nn.Conv3d": nn.Conv3d.forward}


def measure(name: str, size: int, rounds: int) -> dict[str, float]:
    model = create_model(name).eval()
    clip = torch.randn(1, 3, 16, size, size).contiguous(memory_format=torch.channels_last_3d)
    times: dict[str, list[float]] = {key: [] for key in WAYS}
    logits = {}
    with torch.inference_mode():
        for turn in range(WARM_UP + rounds):
            for key in list(WAYS)[:: 1 if turn % 2 else -1]:
                Conv3d.forward = WAYS[key]  # type: ignore[method-assign]
                begin = time.perf_counter()
                logits[key] = model(clip)
                times[key].append(time.perf_counter() - begin)
    counted = {key: values[WARM_UP:] for key, values in times.items()}
    low, middle, high = statistics.quantiles(
        [a / b for a, b in zip(counted["nn.Conv3d"], counted["ours"], strict=True)], n=4
    )
    return {
        "ours_ms": 1e3 * statistics.median(counted["ours"]),
        "nn_ms": 1e3 * statistics.median(counted["nn.Conv3d"]),
        "ratio": middle,
        "low": low,
        "high": high,
        "difference": float((logits["ours"] - logits["nn.Conv3d"]).abs().max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["r3d_34", "r3d_50", "r2plus1d_50"], help="names of networks")
    parser.add_argument("--sizes", nargs="+", type=int, default=[112, 224], help="height and width of the clip")
    parser.add_argument("--rounds", type=int, default=15, help="rounds; use at least 10 for reliable results")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rows = [
        {"model": name, "size": size, **measure(name, size, arguments.rounds)}
        for name in arguments.models
        for size in arguments.sizes
    ]
    if arguments.json:
        json.dump({"machine": environment(), "rounds": arguments.rounds, "rows": rows}, sys.stdout, indent=1)
        return
    print("   ".join(f"{key} {value}" for key, value in environment().items()))
    print(f"one clip of 16 frames, median of {arguments.rounds} rounds\n")
    print(f"{'model':<14}{'size':>5}{'ours ms':>9}{'nn.Conv3d ms':>14}{'nn / ours':>11}   quartiles       logits by")
    for r in rows:
        spread = f"{r['low']:.2f} to {r['high']:.2f}"
        print(
            f"{r['model']:<14}{r['size']:>5}{r['ours_ms']:>9.0f}{r['nn_ms']:>14.0f}{r['ratio']:>11.2f}   {spread:<16}"
            f"{r['difference']:.1e}"
        )


if __name__ == "__main__":
    main()
