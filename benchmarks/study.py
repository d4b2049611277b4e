"""Shared code of the studies on puppets: trainings with equal budgets and several seeds, tested alike, in one table.

Every contestant has the same clips, epochs, batch size and schedule. The weights of the last epoch are tested on `test`
and on `speed` (actions faster and slower than any in training) with 2x1 views, and inside the reversal pairs of `test`.
The data set is generated in the folder of the study. Finished runs and tests are not repeated, so a study can be
interrupted. The tests are kept in the run folders (`test-test`, `test-speed`), where `study_page.py` reads them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kinema.data.manifest import Manifest, read_manifest
from kinema.data.transforms import Augment
from kinema.evaluation import evaluate, pair_accuracy
from kinema.evaluation.cost import count, environment
from kinema.evaluation.results import Test, write_results
from kinema.evaluation.tested import Tested, open_test
from kinema.puppets import generate, reversal_pairs
from kinema.recognizer import Recognizer
from kinema.training.config import Optim, TrainConfig
from kinema.training.run import train
from kinema.training.run_log import read_metrics

VIEWS = (2, 1)


def arguments(about: str | None, **defaults: float) -> argparse.Namespace:
    """Returns a parser for OUT, --seeds, --epochs, --train, and every other option that has a default."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("out", type=Path)
    for name, value in ({"seeds": 3, "epochs": 12, "train": 45} | defaults).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    return parser.parse_args()


def puppets(args: argparse.Namespace) -> tuple[Path, Manifest]:
    """Returns the data set of the study; prints the protocol on the first line."""
    data = generate(args.out / "puppets", seed=0, train=args.train, test=16, speed=8)
    protocol = {key: value for key, value in vars(args).items() if key != "out"}
    print(json.dumps({**protocol, "views": VIEWS, **environment()}), flush=True)
    return data, read_manifest(data)


def contestant(args: argparse.Namespace, data: Path, model: str, options: dict[str, Any], **more: Any) -> TrainConfig:
    """Returns a training of the study: its clips, its budget, SGD at 0.05; `more` adds or replaces fields."""
    common: dict[str, Any] = {
        "clip": {"frames": args.frames, "sampler": "segments", "short_side": args.crop + 8, "crop": args.crop},
        "epochs": args.epochs,
        "batch": 24,
        "optim": Optim(lr=0.05, nesterov=True, warmup=1.0),
        "augment": Augment(scale="jitter", jitter=(args.crop, args.crop + 16)),
        "logger": "none",
    }
    return TrainConfig(model, str(data), options={"width": args.width, **options}, **common | more)


def study(args: argparse.Namespace, manifest: Manifest, contestants: dict[str, TrainConfig]) -> None:
    """Trains and tests all contestants, seed after seed; prints a line per run and then the means.

    `weights` and `distil.teacher` of a contestant are titles of other contestants; the runs of the same seed are used.
    """
    print(
        f"{'':<26}{'params':>9}{'MACs':>10}{'seed':>6}{'test':>8}{'pairs':>8}{'speed':>8}{'step time':>11}  coverage",
        flush=True,
    )
    costs = {
        title: count(
            config.model, num_classes=len(manifest.labels), frames=config.clip["frames"], size=config.clip["crop"],
            options=config.options,
        )
        for title, config in contestants.items()
    }  # fmt: skip
    rows: dict[str, list[tuple[float, ...]]] = {title: [] for title in contestants}
    for seed in range(args.seeds):
        for title, config in contestants.items():
            weights = config.weights and str(folder(args.out, config.weights, seed))
            distil = replace(
                config.distil, teacher=config.distil.teacher and str(folder(args.out, config.distil.teacher, seed))
            )
            config = replace(
                config, out=str(folder(args.out, title, seed)), seed=seed, weights=weights, distil=distil
            )  # fmt: skip
            run = train(config, say=lambda line: None)
            test, speed = (tested(run, manifest, split) for split in ("test", "speed"))
            pairs = pair_accuracy(test.result.truth, test.result.scores, test.result.labels, reversal_pairs())
            computing = sum(row["seconds"] * (1 - row["data_wait"]) for row in read_metrics(run / "metrics.csv"))
            rows[title].append((top1(test), pairs.overall, top1(speed), computing))
            cost = costs[title]
            print(
                f"{title:<26}{cost.params / 1e6:>7.3f} M{cost.macs / 1e6:>8.1f} M{seed:>6}"
                f"{_figures(rows[title][-1])}  {test.coverage}; speed {speed.coverage}",
                flush=True,
            )
    for title, found in rows.items():
        table = np.array(found)
        spread = ", ".join(f"{100 * span:.1f}" for span in np.ptp(table, 0)[:3])
        print(f"{title:<26}{'':>19}{'mean':>6}{_figures(table.mean(0))}  largest minus smallest: {spread} points",
              flush=True)  # fmt: skip


def folder(out: Path, title: str, seed: int) -> Path:
    """Returns the run folder of one contestant and seed."""
    return out / f"{title.replace(' ', '')}-{seed}"


def tested(run: Path, manifest: Manifest, split: str) -> Tested:
    """Returns the test of a run on a split; runs it unless it exists."""
    place = run / f"test-{split}"
    if not (place / "scores.parquet").exists():
        recognizer = Recognizer.load(run)
        result = evaluate(recognizer, manifest.split(split), views=VIEWS, batch=32)
        test = Test(str(run), str(manifest.source), split, f"{VIEWS[0]}x{VIEWS[1]}")
        write_results(place, result, recognizer, test)
    return open_test(place, run.name)


def top1(test: Tested) -> float:
    """Returns the share of correct videos; an unreadable one counts as wrong."""
    return float(test.result.correct.mean())


def _figures(row: np.ndarray | tuple[float, ...]) -> str:
    return "".join(f"{value:>8.1%}" for value in row[:3]) + f"{row[3]:>9.0f} s"
