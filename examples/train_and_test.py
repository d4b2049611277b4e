"""Train a network on labelled videos and test it.

    python examples/train_and_test.py DATA OUT

DATA is a folder with one sub-folder per class, or a CSV (docs/data.md). Without DATA at hand, generate some with
`kinema data puppets DATA`. OUT becomes a run folder, which every command takes: `kinema predict OUT video.mp4`.
"""

from __future__ import annotations

import argparse

from kinema.evaluation import run_test
from kinema.training import Optim, TrainConfig, train

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--model", default="tsm_r18")
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()

    config = TrainConfig(
        args.model,
        args.data,
        out=args.out,
        epochs=args.epochs,
        options={"width": 0.25},  # a quarter of the channels: trains on a CPU
        clip={"short_side": 72, "crop": 64},
        optim=Optim(lr=0.05),
    )
    run = train(config)  # the same call again continues a training that was interrupted

    test = run_test(run, args.data, views="2x3")
    metrics = test.result.metrics
    low, high = metrics.top1_interval
    print(f"top-1 {metrics.top1:.1%} (95 % interval {low:.1%} to {high:.1%}), {metrics.coverage}")
    for remark in test.remarks:
        print("note:", remark)
    print("files:", test.out)
