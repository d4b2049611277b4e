"""`run_splits`: trains and tests on every official split of a data set, and computes the mean over the splits."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from kinema.config_file import CONFIG
from kinema.data.catalogues import NAMES, Source
from kinema.data.catalogues import parse as parse_catalogue
from kinema.data.manifest import read_manifest
from kinema.data.views import Protocol, parse_views
from kinema.errors import KinemaError
from kinema.evaluation.metrics import Coverage, Metrics
from kinema.evaluation.results import METRICS
from kinema.evaluation.runner import Progress
from kinema.evaluation.tested import open_test
from kinema.evaluation.testing import TestPlan, default_out, plan_test, protocol_name, run_test
from kinema.files import replace_file
from kinema.processes import environment_rank
from kinema.training.config import TrainConfig
from kinema.training.run import train

FILE = "splits.json"
FIGURES = ("top1", "topk", "mean_class")


@dataclass(frozen=True)
class SplitResult:
    """The results on one official split.

    Attributes:
        number: number of the split, from 1.
        data: value for `--data`, such as ucf101/2:FOLDER.
        run: its run folder, which also contains the test.
        metrics: results of the test.
    """

    number: int
    data: str
    run: Path
    metrics: Metrics


@dataclass(frozen=True)
class SplitsResult:
    """The results on all official splits of a data set.

    Attributes:
        out: folder of the runs and of `splits.json`.
        model: name of the network.
        protocol: views of the tests.
        splits: the splits, in order.
    """

    out: Path
    model: str
    protocol: str
    splits: tuple[SplitResult, ...]

    def mean(self, figure: str) -> float:
        """Returns the mean of a metric in `FIGURES` over the splits; all splits have the same weight."""
        return fmean(getattr(split.metrics, figure) for split in self.splits)

    def spread(self, figure: str) -> float:
        """Returns the sample standard deviation of a metric over the splits."""
        return stdev(getattr(split.metrics, figure) for split in self.splits)

    @property
    def coverage(self) -> Coverage:
        """The numbers of videos, summed over all tests."""
        found = [split.metrics.coverage for split in self.splits]
        return Coverage(*(sum(getattr(c, name) for c in found) for name in ("expected", "read", "failed", "absent")))

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `splits.json`."""
        return {
            "model": self.model,
            "views": self.protocol,
            "mean": {name: self.mean(name) for name in FIGURES},
            "spread": {name: self.spread(name) for name in FIGURES},
            "k": self.splits[0].metrics.k,
            "splits": [
                {"split": s.number, "data": s.data, "run": str(s.run), "metrics": s.metrics.to_dict()}
                for s in self.splits
            ],
        }


def run_splits(
    config: TrainConfig,
    *,
    views: Protocol = "1x1",
    random_clips: int | None = None,
    test_batch: int = 8,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
    progress: Callable[[str], AbstractContextManager[Progress | None]] | None = None,
) -> SplitsResult:
    """Trains and tests on each official split; finished splits are not done again.

    The split number 1 goes into `split-1` below `config.out`, and so on. The same call continues after a stop.

    Args:
        config: configuration of the trainings; `data` is a catalogue with several official splits and its folder, such
            as ucf101:FOLDER. Without `out`, the folder is `runs/<model>-<catalogue>-splits`.
        views: views of the tests, as `CLIPSxCROPS`.
        random_clips: seed for tests with randomly drawn clips (see `run_test`).
        test_batch: views per pass of the network in a test.
        overwrite: replace tests that were made with other views.
        say: receives lines to print.
        progress: see `run_test`.

    Raises:
        KinemaError: the data do not have several official splits, the files of a split are missing (checked before the
            first training), there are several processes, or the folder contains something else.
        RunError: the same as `train` and `run_test`.
    """
    source = _source(config.data)
    protocol = protocol_name(parse_views(views), random_clips)
    if test_batch < 1:
        raise KinemaError(f"test_batch is {test_batch}: give at least 1")
    out = Path(config.out or f"runs/{config.model}-{source.name}-splits")
    _require_free(out)
    configs = {
        n: replace(config, data=f"{source.name}/{n}:{source.root}", out=str(out / f"split-{n}"))
        for n in range(1, NAMES[source.name] + 1)
    }
    _require_one_process(configs[1])
    for one in configs.values():
        read_manifest(one.data)
    found = []
    for number, one in configs.items():
        say(f"split {number} of {len(configs)}")
        run = train(one, say=say)
        plan = plan_test(run, one.data, views=views, random_clips=random_clips, device=_device(config.device))
        metrics = _finished(plan, run)
        if metrics is None:
            folder = default_out(run, plan.test.split)
            metrics = run_test(
                run, one.data, views=views, random_clips=random_clips, workers=config.workers, batch=test_batch,
                limits=config.limits, device=_device(config.device), say=say, progress=progress,
                overwrite=overwrite or not (folder / METRICS).is_file(),
            ).result.metrics  # fmt: skip
        else:
            say(f"{run}: this test is finished")
        found.append(SplitResult(number, one.data, run, metrics))
    result = SplitsResult(out, config.model, protocol, tuple(found))
    text = json.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n"
    replace_file(out / FILE, lambda part: part.write_text(text, encoding="utf-8"))
    return result


def _source(data: str) -> Source:
    source = parse_catalogue(data)
    several = [name for name, parts in NAMES.items() if parts > 1]
    if source is None or source.name not in several:
        named = "it is not a catalogue" if source is None else f"{source.name} has only one official split"
        forms = " or ".join(f"{name}:FOLDER" for name in several)
        raise KinemaError(f"{data}: {named}; give one of {forms}, or use kinema train and kinema test")
    if "/" in data.partition(":")[0]:
        raise KinemaError(f"{data}: names one official split; give {source.name}:{source.root} for all splits")
    return source


def _require_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise KinemaError(f"{out}: is a file; give a folder as --out")
    if (out / CONFIG).exists():
        raise KinemaError(f"{out}: is the folder of a single run; give another --out for the runs of all splits")


def _require_one_process(config: TrainConfig) -> None:
    if environment_rank(config.processes).world > 1:
        raise KinemaError(
            f"processes: kinema splits trains in one process; train each split separately, the first one with torchrun "
            f"and kinema train … --data {config.data} --out {config.out}, then run kinema splits to test them"
        )


def _device(name: str) -> str:
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def _finished(plan: TestPlan, run: Path) -> Metrics | None:
    """Returns the metrics of an earlier test of this recognizer with the same protocol; None if there is none."""
    folder = default_out(run, plan.test.split)
    if not (folder / METRICS).is_file():
        return None
    test = open_test(folder, run.name)
    same = test.document.get("test") == plan.test.to_dict()
    return test.metrics if same and test.document.get("training") == plan.recognizer.card.get("training") else None
