"""`kinema splits RECIPE --data CATALOGUE:FOLDER`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from kinema.cli import train
from kinema.cli.arguments import add_json, device
from kinema.cli.output import print_json, print_table, say
from kinema.config_file import read_yaml
from kinema.progress import progress_bar
from kinema.recipes import views_of_test
from kinema.text import plural

if TYPE_CHECKING:
    from kinema.training.config import TrainConfig
    from kinema.training.splits import SplitsResult


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of `kinema train`, and the protocol of the tests."""
    train.add_arguments(parser)
    parser.add_argument("--views", type=str | None, default=None, help="CLIPSxCROPS of the tests; default: as in "
                        "the recipe, else 1x1")  # fmt: skip
    parser.add_argument("--random-clips", type=int | None, default=None, help="a seed: draw random clips in the tests, "
                        "as training does, instead of clips at fixed positions")  # fmt: skip
    parser.add_argument("--test-batch", type=int, default=8, help="views per forward pass in a test")
    parser.add_argument("--overwrite", action="store_true", help="replace tests that were made with other views")
    add_json(parser)


rewrite = train.rewrite


def run(args: Namespace) -> None:
    """Trains and tests every split, writes a report per split and prints the mean."""
    from kinema.report.make import make_report
    from kinema.training.splits import run_splits

    recipe = Path(str(args.recipe[-1])) if args.recipe else None
    config = _config(args, recipe)
    device(config.device)

    def tell(line: str) -> None:
        """Prints progress on stderr with --json, so that stdout contains only the document."""
        print(line, file=sys.stderr, flush=True) if args.json else say(line)

    views = args.views or (views_of_test(recipe) if recipe else None) or "1x1"
    result = run_splits(
        config, views=views, random_clips=args.random_clips, test_batch=args.test_batch,
        overwrite=args.overwrite, say=tell, progress=progress_bar,
    )  # fmt: skip
    for split in result.splits:
        make_report([split.run], split.run / "report.html")
    if args.json:
        print_json(result.to_dict() | {"out": str(result.out)})
    else:
        _print(result)


def _config(args: Namespace, recipe: Path | None) -> TrainConfig:
    """Returns the configuration; a recipe's run folder holds a single run, so the splits go into a folder beside it."""
    own = {"views", "random_clips", "test_batch", "overwrite", "json"}
    config = train.configuration(Namespace({k: v for k, v in args.items() if k not in own}))
    named = read_yaml(recipe).get("out") if recipe is not None else None
    if config.out is not None and config.out == named:
        config = replace(config, out=f"{named}-splits")
    return train.with_weights(config)


def _print(result: SplitsResult) -> None:
    k = result.splits[0].metrics.k
    rows = [
        [str(s.number), f"{s.metrics.top1:.1%}", f"{s.metrics.topk:.1%}", f"{s.metrics.mean_class:.1%}",
         str(s.metrics.coverage), str(s.run)]
        for s in result.splits
    ]  # fmt: skip
    figures = ("top1", "topk", "mean_class")
    rows.append(["mean", *(f"{result.mean(name):.1%}" for name in figures), str(result.coverage), str(result.out)])
    rows.append(["±", *(f"{result.spread(name):.1%}" for name in figures), "", ""])
    print_table(
        ["split", "top-1", f"top-{k}", "mean class", "videos", "folder"], rows,
        caption=f"{result.model}, {result.protocol} views. ±: sample standard deviation over "
        f"{plural(len(result.splits), 'official split')}. The splits share videos, so it is not a confidence "
        "interval. Each folder has a report.html.",
    )  # fmt: skip
