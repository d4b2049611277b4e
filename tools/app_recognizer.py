"""Trains the small recognizer that comes with the page, and writes it into the package.

    .venv/bin/python tools/app_recognizer.py OUT [--package src/kinema/app/starter] [--epochs 14]

The clips are generated from seed 0 into OUT/puppets: 90 training, 16 test and 8 speed clips of each of 16 actions. An
STM-18 of a fifth of the usual width learns from them alone, so its weights have the licence of this project. It is
tested with one view, as the page recognises short videos, and its card states the accuracy. Written are the run
OUT/stm_r18 and, in the package, `card.json` and `model.safetensors` (1.9 MB). It knows generated figures only.

A finished run is not repeated.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from kinema.data.manifest import read_manifest
from kinema.data.transforms import Augment
from kinema.evaluation.runner import evaluate
from kinema.puppets import generate
from kinema.recognizer import Recognizer
from kinema.training.config import Optim, TrainConfig
from kinema.training.run import train


def main() -> None:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--package", type=Path, default=Path("src/kinema/app/starter"))
    parser.add_argument("--epochs", type=int, default=14)
    args = parser.parse_args()
    counts = {"train": 90, "test": 16, "speed": 8}
    data = generate(args.out / "puppets", seed=0, **counts)
    run = train(
        TrainConfig(
            "stm_r18", str(data), str(args.out / "stm_r18"), options={"width": 0.2, "dropout": 0.2},
            clip={"frames": 8, "short_side": 72, "crop": 64}, epochs=args.epochs, batch=32, seed=0,
            optim=Optim(lr=0.1, nesterov=True, warmup=0.5), augment=Augment(scale="jitter", jitter=(64, 80)),
            logger="none",
        )
    )  # fmt: skip
    recognizer, manifest = Recognizer.load(run), read_manifest(data)
    recognizer.card["training"]["config"] |= {"data": "puppets", "out": "stm_r18"}  # not the folders of one machine
    figures = {}
    for split in ("test", "speed"):
        found = evaluate(recognizer, manifest.split(split), views=(1, 1), batch=32).metrics
        figures[split] = {
            "top1": found.top1,
            "top1_interval": found.top1_interval,
            "views": "1x1",
            "coverage": asdict(found.coverage),
        }
        print(f"{split}: top-1 {found.top1:.1%}, {found.coverage}", flush=True)
    recognizer.card["metrics"] = figures
    recognizer.card["data"] = {"generator": "kinema.puppets", "seed": 0, **counts}
    recognizer.save(args.package)
    size = sum(file.stat().st_size for file in args.package.iterdir())
    print(f"{args.package}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
