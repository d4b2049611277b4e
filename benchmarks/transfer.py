"""Real surveillance clips (fight / noFight): ImageNet weights that install offline against training from scratch.

    .venv/bin/python benchmarks/transfer.py ../shared/data/fights/split.csv OUT [--epochs 8] [--seeds 3]

TSN and TSM on EfficientNet-Lite0, 8 segments, crops of 112 from a short side of 128. Three variants: random weights,
ImageNet weights with all weights trained (the features at a tenth of the classifier's rate), and ImageNet weights with
only the classifier trained. 300 clips, train and test from different source videos (Akti et al., IPTA 2019; see the
data's own README). The weights of the last epoch are tested with 3x1 views; nothing is selected on the test split.
Finished runs in OUT are not trained again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from kinema.data.manifest import read_manifest
from kinema.data.transforms import Augment
from kinema.evaluation import evaluate
from kinema.evaluation.cost import environment
from kinema.evaluation.statistics import bootstrap_interval
from kinema.recognizer import Recognizer
from kinema.training.config import Optim, TrainConfig
from kinema.training.run import train

VIEWS = (3, 1)
WAYS: dict[str, dict[str, Any]] = {
    "scratch": {"optim": Optim(lr=0.05, nesterov=True, warmup=1.0)},
    "ImageNet, all": {
        "weights": "imagenet",
        "optim": Optim(lr=0.02, nesterov=True, warmup=1.0, lr_mult={"features": 0.1}),
    },
    "ImageNet, classifier": {"weights": "imagenet", "trainable": "classifier", "optim": Optim(lr=0.1, nesterov=True)},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    manifest = read_manifest(args.data)
    train_labels = [s.label for s in manifest.split("train").samples]
    print(json.dumps({"epochs": args.epochs, "seeds": args.seeds, "views": VIEWS, **environment()}), flush=True)
    print(f"{'':<44}{'seed':>5}{'top-1':>8}  {'95 % interval':<16}{'mean class':>10}{'majority':>10}  coverage")
    for network in ("tsn", "tsm"):
        for title, changes in WAYS.items():
            name = f"{network}_efficientnet_lite0"
            right = []
            for seed in range(args.seeds):
                config = TrainConfig(
                    name, args.data, out=str(args.out / f"{network}-{title.replace(', ', '-')}-{seed}"),
                    clip={"frames": 8, "short_side": 128, "crop": 112}, epochs=args.epochs, batch=16, seed=seed,
                    augment=Augment(scale="corners"), logger="none", **changes,
                )  # fmt: skip
                recognizer = Recognizer.load(train(config, say=lambda line: None))
                result = evaluate(recognizer, manifest.split("test"), views=VIEWS, batch=24, train_labels=train_labels)
                right.append(result.correct)
                m = result.metrics
                low, high = m.top1_interval
                print(
                    f"{f'{name}, {title}':<44}{seed:>5}{m.top1:>8.1%}  [{low:.1%}, {high:.1%}]{m.mean_class:>10.1%}"
                    f"{m.majority.share:>10.1%}  {m.coverage}",
                    flush=True,
                )
            mean = np.mean(right, 0)  # per video, over the seeds
            low, high = bootstrap_interval(mean)
            print(f"{f'{name}, {title}':<44} mean{mean.mean():>8.1%}  [{low:.1%}, {high:.1%}]", flush=True)


if __name__ == "__main__":
    main()
