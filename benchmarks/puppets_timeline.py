"""Localisation in time: a causal network, frame by frame, against sliding windows of the offline network.

    .venv/bin/python benchmarks/puppets_timeline.py OUT [--seeds 1] [--distil] [--quick]

Short clips and long videos of puppets are generated in OUT. For each seed, STM-18 is first trained on the short clips.
The following networks start from its weights and are trained on the actions and the idle time ("no action") of the
long videos' split train: "windows", the usual network; "causal", the same with `causal=True`; and with --distil a
causal one with "windows" as teacher. "causal, from windows" starts from "windows" and is trained for as many epochs.

Thresholds are set on the split val, and everything is measured on the split test. The causal networks process every
frame once, at the median spacing of the frames in training. The usual one classifies windows as long as its clips, a
quarter of a window apart. Intervals are 95 % bootstrap intervals over the long videos of the test. The settings were
chosen by the accuracy in training and by the mAP on the split val. Finished trainings and measurements are not
repeated. --quick reduces everything to a minute, to check that it runs; its figures have no meaning.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kinema.data.manifest import read_manifest
from kinema.data.photometric import Photometric
from kinema.data.transforms import Augment
from kinema.evaluation.cost import environment
from kinema.puppets import generate, generate_films
from kinema.recognizer import Recognizer
from kinema.streaming import calibrate, choose_sight, labelled_films, measure_films, watch_films
from kinema.training.config import Optim, TrainConfig
from kinema.training.distil import Distil
from kinema.training.run import train

IDLE = "no action"
START = "short clips"


def main() -> None:
    args = arguments()
    clips = generate(args.out / "clips", seed=0, train=args.clips, test=0, speed=0)
    films = generate_films(args.out / "films", seed=0, films=args.films, seconds=args.seconds, idle=IDLE)
    protocol = {key: value for key, value in vars(args).items() if key != "out"}
    print(json.dumps({**protocol, **environment()}), flush=True)
    print(
        f"{'':<24}{'seed':>5}{'mAP 0.3':>9}{'mAP 0.5':>24}{'mAP 0.7':>9}{'F1':>7}{'delay s':>22}{'labelled':>10}"
        f"{'false alarms / h':>22}  coverage, rule",
        flush=True,
    )
    rows: dict[str, list[dict[str, Any]]] = {}
    for seed in range(args.seeds):
        for title, config in contestants(args, clips, films, seed).items():
            run = train(config, say=lambda line: None)
            if title == START:
                continue
            file = run / "timeline.json"
            if not file.exists():
                file.write_text(json.dumps(measured(run, films)), encoding="utf-8")
            found = json.loads(file.read_text(encoding="utf-8"))
            rows.setdefault(title, []).append(found)
            print(line(title, str(seed), found), flush=True)
    for title, found_rows in rows.items():
        print(means(title, found_rows), flush=True)


def arguments() -> argparse.Namespace:
    """Returns the options, with --quick applied."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--clips", type=int, default=90, help="short clips per class")
    parser.add_argument("--epochs", type=int, default=12, help="epochs on the short clips")
    parser.add_argument("--film-epochs", type=int, default=12, help="epochs on the long videos, for each network")
    parser.add_argument("--film-lr", type=float, default=0.05)
    parser.add_argument("--films", type=int, nargs=3, default=[48, 8, 16], help="long videos in train, val, test")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a long video")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--distil", action="store_true", help="also distil the causal network from the window network")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.clips, args.epochs, args.film_epochs, args.films, args.seconds = 2, 2, 2, [1, 1, 2], 10.0
        args.width, args.crop, args.frames = 0.125, 32, 4
    args.films = tuple(args.films)
    return args


def contestants(args: argparse.Namespace, clips: Path, films: Path, seed: int) -> dict[str, TrainConfig]:
    """Returns the trainings of one seed, ordered so that each comes after the one that it starts from."""

    def place(title: str) -> str:
        return str(args.out / f"{title.replace(', ', '-').replace(' ', '_')}-{seed}")

    options = {"width": args.width, "dropout": 0.2}
    start = TrainConfig(
        "stm_r18", str(clips), out=place(START), options=options, epochs=args.epochs, batch=32, seed=seed,
        clip={"frames": args.frames, "sampler": "segments", "short_side": args.crop + 8, "crop": args.crop},
        optim=Optim(lr=0.1, nesterov=True, warmup=0.5),
        augment=Augment(scale="jitter", jitter=(args.crop, args.crop + 16)),
        photometric=Photometric(
            clips=1.0, kinds=("colour_jitter", "grayscale"), odds={"colour_jitter": 0.8, "grayscale": 0.2}
        ),
        logger="none",
    )  # fmt: skip
    windows = replace(
        start, data=str(films), out=place("windows"), weights=start.out, epochs=args.film_epochs,
        optim=replace(start.optim, lr=args.film_lr),
    )  # fmt: skip
    causal = replace(windows, options={**options, "causal": True})
    found = {
        START: start,
        "windows": windows,
        "causal": replace(causal, out=place("causal")),
        "causal, from windows": replace(causal, out=place("causal, from windows"), weights=windows.out),
    }
    if args.distil:
        found["causal, distilled"] = replace(
            causal, out=place("causal, distilled"), distil=Distil(teacher=place("windows"))
        )
    return found


def measured(run: Path, data: Path) -> dict[str, Any]:
    """Sets thresholds on val and measures on test, as `kinema timeline RUN --calibrate DATA` does."""
    recognizer, manifest = Recognizer.load(run), read_manifest(data)
    sight = choose_sight(recognizer)
    watched = {}
    for split in ("val", "test"):
        films = labelled_films(manifest.split(split), recognizer.labels, (IDLE,))
        watched[split] = watch_films(recognizer, films, sight)
    settings = calibrate(
        watched["val"], recognizer.labels, sight, background=(IDLE,), source="films", split="val"
    )  # fmt: skip
    result = measure_films(watched["test"], recognizer.labels, settings)
    return {**settings.to_dict(), **result.to_dict(), "sight": sight.describe()}


def line(title: str, seed: str, found: dict[str, Any]) -> str:
    """Returns one row of the table."""
    maps = found["map"]
    rule = ", ".join(f"{key} {found[key]:g}" for key in ("threshold", "release", "shortest", "smoothing", "lag"))
    cover = found["coverage"]
    return (
        f"{title:<24}{seed:>5}{maps['0.3']['value']:>9.3f}{interval(maps['0.5'], 3):>24}{maps['0.7']['value']:>9.3f}"
        f"{found['f1']:>7.3f}{interval(found['delay'], 2):>22}{found['labelled']:>10.0%}"
        f"{interval(found['false_alarms_per_hour'], 0):>22}  {cover['expected']} expected / {cover['read']} read / "
        f"{cover['failed']} failed; {found['sight']}; {rule}"
    )


def interval(figure: dict[str, float | None], digits: int) -> str:
    """Formats a figure with its interval."""
    if figure["value"] is None:
        return "–"
    text = f"{figure['value']:.{digits}f}"
    return text if figure["low"] is None else f"{text} [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"


def means(title: str, rows: list[dict[str, Any]]) -> str:
    """Formats the means over seeds, with the smallest and the largest value."""
    parts = []
    for name, values in (
        ("mAP 0.5", [row["map"]["0.5"]["value"] for row in rows]),
        ("F1", [row["f1"] for row in rows]),
        ("delay s", [row["delay"]["value"] for row in rows]),
        ("false alarms / h", [row["false_alarms_per_hour"]["value"] for row in rows]),
    ):
        there = [v for v in values if v is not None]
        parts.append(f"{name} {np.mean(there):.3g} ({min(there):.3g} to {max(there):.3g})" if there else f"{name} –")
    return f"{title:<24} mean of {len(rows)}: {', '.join(parts)}"


if __name__ == "__main__":
    main()
