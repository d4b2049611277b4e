"""Measure whether the temporal shift helps: train a network with and without it, and compare them on the same videos.

    python examples/compare_two_runs.py DATA OUT

A difference between two accuracies may be chance. Both networks are tested on the same videos, so the comparison is
paired: McNemar's test uses the videos that only one of the two classifies correctly.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kinema.evaluation import run_test
from kinema.evaluation.comparison import compare
from kinema.evaluation.tested import open_tests
from kinema.training import Optim, TrainConfig, train

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()

    runs = []
    for model in ("tsn_r18", "tsm_r18"):  # the second is the first with shifted channels
        config = TrainConfig(
            model,
            args.data,
            out=str(args.out / model),
            epochs=args.epochs,
            options={"width": 0.25},
            clip={"short_side": 72, "crop": 64},
            optim=Optim(lr=0.05),
        )
        run = train(config, say=lambda line: None)
        run_test(run, args.data, views="2x1", overwrite=True)
        runs.append(run)

    found = compare(*open_tests(runs))
    for side in (found.first, found.second):
        print(f"{side.name}: top-1 {side.top1:.1%}, {side.compared}")
    difference = found.difference
    print(
        f"difference {100 * difference.difference:+.1f} points "
        f"(95 % interval {100 * difference.low:+.1f} to {100 * difference.high:+.1f}), "
        f"McNemar p = {found.mcnemar.p_exact:.2g}"
    )
    for gain in found.per_class[:3]:
        print(f"{gain.label}: {gain.first:.0%} -> {gain.second:.0%} of {gain.videos} videos")
