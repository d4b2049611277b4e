"""Latency of one clip: STM and TSM against TSN, in one interleaved run.

    .venv/bin/python benchmarks/latency_2d.py [--repeats 30] [--size 224] [--threads 2]

Every round runs each network once, so that changes in the machine's speed affect all of them. A figure is the median
over rounds of the ratio within a round. Requirement of the project: STM-50 at most 1.12 x TSN-50 in float32.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

from kinema.evaluation.cost import count, environment
from kinema.models import create_model


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--depth", default="r50", choices=["r18", "r34", "r50"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    names = [f"{kind}_{args.depth}" for kind in ("tsn", "tsm", "stm")]
    models = [create_model(name, num_classes=174, frames=8).eval() for name in names]
    clip = torch.randn(1, 3, 8, args.size, args.size).contiguous(memory_format=torch.channels_last_3d)
    seconds = np.empty((args.repeats, len(models)))
    with torch.inference_mode():
        for model in models:
            model(clip)
        for i in range(args.repeats):
            for j, model in enumerate(models):
                began = time.perf_counter()
                model(clip)
                seconds[i, j] = time.perf_counter() - began
    print(
        json.dumps({"protocol": "float32, channels-last, 1 clip of 8 frames", "rounds": args.repeats, **environment()})
    )
    print(f"{'model':<10}{'MACs':>10}{'median ms':>12}{'ratio to TSN (median, quartiles)':>36}")
    for j, name in enumerate(names):
        low, middle, high = np.quantile(seconds[:, j] / seconds[:, 0], [0.25, 0.5, 0.75])
        macs = count(name, num_classes=174, frames=8, size=args.size).macs
        print(
            f"{name:<10}{macs / 1e9:>8.2f} G{1e3 * np.median(seconds[:, j]):>12.1f}"
            f"{middle:>16.3f}  [{low:.3f}, {high:.3f}]"
        )
    print("requirement: stm at most 1.12 x tsn")


if __name__ == "__main__":
    main()
