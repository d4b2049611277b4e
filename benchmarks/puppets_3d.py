"""The 3-D family on puppets at small width: r3d against SRTG and Class Regularisation, 3-D convolution against MTConv.

    .venv/bin/python benchmarks/puppets_3d.py OUT [--seeds 3] [--epochs 12] [--train 45]

Every network has the same budget: the same clips, epochs, batch and schedule; the last weights are tested on `test` and
on `speed` (actions faster and slower than any in training) with 2x1 views, and inside the reversal pairs of `test`. The
data set is generated in OUT; runs that are finished there are not trained again, so the command may be interrupted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from kinema.data.manifest import read_manifest
from kinema.data.puppets import generate, reversal_pairs
from kinema.data.transforms import Augment
from kinema.evaluation import evaluate, pair_accuracy
from kinema.evaluation.cost import count, environment
from kinema.recognizer import Recognizer
from kinema.training.config import Optim, TrainConfig
from kinema.training.run import train

VIEWS = (2, 1)
REGULARISED = {"class_regularisation": [0.9, 0.8, 0.7, 0.6]}
CONTESTANTS: list[tuple[str, str, dict[str, Any]]] = [
    ("r3d-34", "r3d_34", {}),
    ("r3d-34 + SRTG", "srtg_r3d_34", {}),
    ("r3d-34 + Class Reg.", "r3d_34", REGULARISED),
    ("r3d-50", "r3d_50", {}),
    ("r3d-50, MTConv", "mtconv_r50", {}),
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--train", type=int, default=45, help="training clips of every class")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--crop", type=int, default=56)
    parser.add_argument("--width", type=float, default=0.125)
    args = parser.parse_args()
    data = generate(args.out / "puppets", seed=0, train=args.train, test=16, speed=8)
    manifest = read_manifest(data)
    protocol = {key: str(value) for key, value in vars(args).items() if key != "out"}
    print(json.dumps({**protocol, "views": VIEWS, **environment()}), flush=True)
    print(
        f"{'network':<22}{'params':>9}{'MACs':>9}{'seed':>6}{'test':>8}{'pairs':>8}{'speed':>8}  coverage", flush=True
    )
    for title, name, options in CONTESTANTS:
        given = {"width": args.width, **options}
        cost = count(name, num_classes=len(manifest.labels), frames=args.frames, size=args.crop, options=given)
        rows = []
        for seed in range(args.seeds):
            config = TrainConfig(
                name, str(data), out=str(args.out / f"{title.replace(' ', '')}-{seed}"), options=given,
                clip={"frames": args.frames, "sampler": "segments", "short_side": args.crop + 8, "crop": args.crop},
                epochs=args.epochs, batch=24, seed=seed, optim=Optim(lr=0.05, nesterov=True, warmup=1.0),
                augment=Augment(scale="jitter", jitter=(args.crop, args.crop + 16)),
            )  # fmt: skip
            recognizer = Recognizer.load(train(config, say=lambda line: None))
            test, speed = (evaluate(recognizer, manifest.split(s), views=VIEWS, batch=32) for s in ("test", "speed"))
            pairs = pair_accuracy([s.label for s in test.samples], test.scores, test.labels, reversal_pairs())
            rows.append((test.metrics.top1, pairs.overall, speed.metrics.top1))
            figures = "".join(f"{value:>8.1%}" for value in rows[-1])
            print(
                f"{title:<22}{cost.params / 1e6:>7.3f} M{cost.macs / 1e6:>7.1f} M{seed:>6}{figures}  "
                f"{test.metrics.coverage}; speed {speed.metrics.coverage}",
                flush=True,
            )
        table = np.array(rows)
        means, spans = table.mean(0), table.max(0) - table.min(0)
        text = "".join(f"{mean:>8.1%}" for mean in means)
        spread = ", ".join(f"{100 * span:.1f}" for span in spans)
        print(f"{title:<22}{'':>18}{'mean':>6}{text}  largest minus smallest: {spread} points", flush=True)


if __name__ == "__main__":
    main()
