"""`run_demo`: generates clips, trains and tests two networks, recognises one file and writes a page."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from kinema.clip_spec import ClipSpec
from kinema.data.manifest import Manifest, read_manifest
from kinema.data.transforms import Augment
from kinema.data.views import read_views
from kinema.demo.page import Contestant, Story, write_page
from kinema.errors import KinemaError
from kinema.evaluation.cost import count, environment
from kinema.evaluation.latency import Ratio, latency, latency_ratio
from kinema.evaluation.results import Test, write_results
from kinema.evaluation.runner import evaluate
from kinema.evaluation.statistics import mcnemar, pair_accuracy, paired_bootstrap
from kinema.puppets import contact_sheet, generate, reversal_pairs
from kinema.recognizer import Recognizer, versions
from kinema.training.config import Optim, TrainConfig
from kinema.training.run import train
from kinema.training.run_log import read_metrics

VIEWS = (2, 1)
NETWORKS = ("stm_r18", "tsn_r18")
SHOWN = "pick up"
TURNS = 30


@dataclass(frozen=True)
class DemoConfig:
    """The size of the demo; the default takes minutes on two cores.

    Attributes:
        out: folder for all output; complete parts are reused.
        seed: seed of the clips and the trainings.
        train: training clips per class.
        test: test clips per class.
        speed: clips per class in the split `speed`.
        epochs: epochs of each training.
        width: factor for the number of channels of both networks.
    """

    out: str = "demo"
    seed: int = 0
    train: int = 90
    test: int = 16
    speed: int = 8
    epochs: int = 12
    width: float = 0.25


def run_demo(config: DemoConfig, *, say: Callable[[str], None] = print) -> Path:
    """Runs the whole demo.

    Args:
        config: its size.
        say: called with each line of output.

    Returns:
        The page, `OUT/index.html`.

    Raises:
        KinemaError: a tested split has no clips, or the folder contains something else.
    """
    began = time.perf_counter()
    for split in ("test", "speed"):
        if getattr(config, split) < 1:
            raise KinemaError(f"{split} is {getattr(config, split)}: the demo uses this split, so give at least 1")
    out = Path(config.out)
    say(
        "1. Generating clips: an articulated figure performs actions, including five pairs in which each action is "
        "the other one reversed"
    )
    data = generate(out / "puppets", seed=config.seed, train=config.train, test=config.test, speed=config.speed)
    manifest = read_manifest(data)
    counts = ", ".join(f"{len(manifest.split(s).samples)} in {s}" for s in manifest.splits)
    say(f"   {len(manifest.samples)} clips of {len(manifest.labels)} actions: {counts}")
    sheet = contact_sheet(data, out / "contact-sheet.png")
    contestants = [_contest(name, manifest, data, out, config, f"{2 + i}.", say) for i, name in enumerate(NETWORKS)]
    correct = [c.test.correct for c in contestants]
    difference, test = paired_bootstrap(correct[1], correct[0]), mcnemar(correct[1], correct[0])
    first, second = contestants
    say(
        f"4. {first.name} against {second.name}: {100 * difference.difference:+.1f} points of top-1 (95 % interval "
        f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}), exact McNemar p = {test.p_exact:.2g}"
    )
    sample = next(s for s in manifest.split("test").samples if s.label == SHOWN)
    recognizer = Recognizer.load(out / first.name)
    prediction = recognizer.predict(sample.path)
    say(f"5. {sample.path}: {prediction.label} ({prediction.score:.2f}), true label {sample.label}")
    ratio = _ratio(first, second, config)
    say(f"6. {first.name} takes {ratio.median:.2f} times as long as {second.name} (interleaved runs)")
    story = Story(
        contestants, difference, test, sheet, _strip(sample.path, recognizer.spec, out / "clip.png"), prediction,
        str(Path(sample.path).relative_to(out)) if Path(sample.path).is_relative_to(out) else sample.path, sample.label,
        _protocol(config, recognizer.spec, manifest), {**environment(), **versions()}, ratio,
    )  # fmt: skip
    write_page(story, out / "index.html")
    say(f"   for details: kinema compare {out / second.name} {out / first.name}")
    say(f"7. {time.perf_counter() - began:.0f} s in total; page with curves, confusion and cost: {out / 'index.html'}")
    return out / "index.html"


def demo_recognizers(config: DemoConfig, *, say: Callable[[str], None] = print) -> tuple[list[Path], Path]:
    """Returns the two trained networks of the demo and its generated data; missing parts are created.

    Args:
        config: as for `run_demo`.
        say: called with each line of output.

    Returns:
        The run folders and the data set.

    Raises:
        KinemaError: as for `run_demo`.
    """
    out = Path(config.out)
    if not (out / "index.html").is_file():  # the file that is written last
        run_demo(config, say=say)
    return [out / name for name in NETWORKS], out / "puppets"


def _contest(
    name: str, manifest: Manifest, data: Path, out: Path, config: DemoConfig, number: str, say: Callable[[str], None]
) -> Contestant:
    say(f"{number} Training and testing {name}")
    began = time.perf_counter()
    train(_training(name, data, out, config), say=lambda line: say("   " + line.replace("\n", "\n   ")))
    seconds = time.perf_counter() - began
    recognizer = Recognizer.load(out / name)
    train_labels = [s.label for s in manifest.split("train").samples]
    results = {
        split: evaluate(recognizer, manifest.split(split), views=VIEWS, batch=32, train_labels=train_labels)
        for split in ("test", "speed")
    }
    for split, result in results.items():
        tested = Test(str(out / name), str(data), split, f"{VIEWS[0]}x{VIEWS[1]}")
        write_results(out / name / f"test-{split}", result, recognizer, tested)
    test = results["test"]
    pairs = pair_accuracy(test.truth, test.scores, test.labels, reversal_pairs())
    m, spec = test.metrics, recognizer.spec
    say(
        f"   test: top-1 {m.top1:.1%} [{m.top1_interval[0]:.1%}, {m.top1_interval[1]:.1%}], top-5 {m.topk:.1%}, "
        f"mean class {m.mean_class:.1%}, {m.coverage}, {VIEWS[0]}x{VIEWS[1]} views"
    )
    say(
        f"   direction in the reversal pairs: {pairs.overall:.1%} of {pairs.videos} videos; "
        f"split speed: top-1 {results['speed'].metrics.top1:.1%}"
    )
    classes, options = len(test.labels), {"width": config.width}
    return Contestant(
        name, read_metrics(out / name / "metrics.csv"), test, results["speed"], pairs,
        count(name, num_classes=classes, frames=spec.frames, size=spec.crop, options=options),
        latency(name, num_classes=classes, frames=spec.frames, size=spec.crop, options=options, repeats=TURNS), seconds,
    )  # fmt: skip


def _ratio(first: Contestant, second: Contestant, config: DemoConfig) -> Ratio:
    classes, cost = len(first.test.labels), first.cost
    return latency_ratio(
        first.name, second.name, num_classes=classes, frames=cost.frames, size=cost.size,
        options={"width": config.width}, repeats=TURNS,
    )  # fmt: skip


def _training(name: str, data: Path, out: Path, config: DemoConfig) -> TrainConfig:
    return TrainConfig(
        model=name,
        data=str(data),
        out=str(out / name),
        options={"width": config.width, "dropout": 0.2},
        clip={"frames": 8, "short_side": 72, "crop": 64},
        epochs=config.epochs,
        batch=32,
        seed=config.seed,
        optim=Optim(lr=0.1, nesterov=True, warmup=0.5),
        augment=Augment(scale="jitter", jitter=(64, 80)),
    )


def _strip(video: str, spec: ClipSpec, path: Path) -> Path:
    """Returns the frames of the central clip side by side."""
    (clip,) = read_views(video, spec).pixels
    row = torch.cat(list(clip), 1).numpy()
    Image.fromarray(row).save(path)
    return path


def _protocol(config: DemoConfig, spec: ClipSpec, manifest: Manifest) -> dict[str, str]:
    given = _training("", Path(), Path(), config)
    return {
        "data": f"{config.train} training, {config.test} test and {config.speed} speed clips of each of "
        f"{len(manifest.labels)} actions, generated from seed {config.seed}",
        "clip": f"{spec.frames} frames, one from each of {spec.frames} equal parts, {spec.crop}x{spec.crop} pixels",
        "training": f"{given.epochs} epochs, batch {given.batch}, SGD with learning rate {given.optim.lr} and momentum "
        f"{given.optim.momentum}, {given.optim.schedule} schedule, both networks alike; the last weights are tested",
        "test": f"{VIEWS[0]} clips x {VIEWS[1]} crop, softmax scores averaged",
    }
