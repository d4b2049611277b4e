"""TSN, TSM and STM trained from scratch on real surveillance clips (fight / noFight), tested on other sources.

    .venv/bin/python benchmarks/fights.py ../shared/data/fights/split.csv [--epochs 30] [--seeds 3]

300 clips, 2 classes, train and test from different source videos (Akti et al., IPTA 2019; see the data's own README).
Every network has the same budget. The weights of the last epoch are tested with 4x3 views; nothing is selected on the
test split.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from kinema.data.manifest import read_manifest
from kinema.data.transforms import Augment
from kinema.evaluation import evaluate
from kinema.evaluation.cost import environment
from kinema.recognizer import Recognizer
from kinema.training.config import Optim, TrainConfig
from kinema.training.run import train

VIEWS = (4, 3)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=float, default=0.25)
    args = parser.parse_args()
    manifest = read_manifest(args.data)
    train_labels = [s.label for s in manifest.split("train").samples]
    protocol = {"epochs": args.epochs, "width": args.width, "clip": "8 segments, 112 of short side 128", "views": VIEWS}
    print(json.dumps({**protocol, **environment()}), flush=True)
    print(f"{'model':<9}{'seed':>5}{'top-1':>8}  {'95 % interval':<16}{'mean class':>10}{'majority':>10}  coverage")
    for name in ("tsn_r18", "tsm_r18", "stm_r18"):
        found = []
        for seed in range(args.seeds):
            with tempfile.TemporaryDirectory() as folder:
                config = TrainConfig(
                    name, args.data, out=str(Path(folder) / "run"), options={"width": args.width},
                    clip={"frames": 8, "short_side": 128, "crop": 112}, epochs=args.epochs, batch=16, seed=seed,
                    optim=Optim(lr=0.05, nesterov=True, warmup=1.0), augment=Augment(scale="corners"),
                )  # fmt: skip
                recognizer = Recognizer.load(train(config, say=lambda line: None))
            m = evaluate(recognizer, manifest.split("test"), views=VIEWS, batch=24, train_labels=train_labels).metrics
            found.append(m.top1)
            low, high = m.top1_interval
            print(
                f"{name:<9}{seed:>5}{m.top1:>8.1%}  [{low:.1%}, {high:.1%}]{m.mean_class:>10.1%}"
                f"{m.majority.share:>10.1%}  {m.coverage}",
                flush=True,
            )
        print(f"{name:<9} mean{np.mean(found):>8.1%}  (seeds: {min(found):.1%} to {max(found):.1%})", flush=True)


if __name__ == "__main__":
    main()
