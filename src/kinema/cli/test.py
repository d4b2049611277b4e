"""`kinema test RECOGNIZER --data D`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import (
    add_device,
    add_json,
    add_precision,
    add_reading,
    add_recognizer,
    check_reading,
    device,
    read_limits,
)
from kinema.cli.optimized import add_optimize, check_optimize, optimized
from kinema.cli.output import print_facts
from kinema.errors import RunError
from kinema.progress import progress_bar
from kinema.text import plural, printable

if TYPE_CHECKING:
    from kinema.clip_spec import ClipSpec
    from kinema.evaluation.metrics import Metrics
    from kinema.evaluation.result import TestResult
    from kinema.evaluation.testing import TestRun
    from kinema.processes import Rank

SHOWN = 20  # failed files that are printed; the ledger contains all


def add_arguments(parser: ArgumentParser) -> None:
    """Adds RECOGNIZER, the data and the protocol."""
    add_recognizer(parser)
    parser.add_argument(
        "--data", type=str, required=True, help="a folder with one sub-folder per class, a CSV, or CATALOGUE:FOLDER"
    )
    parser.add_argument("--split", type=str | None, default=None, help="a split or `all`; default: test, else val")
    parser.add_argument("--views", type=str, default="1x1", help="CLIPSxCROPS per video; CROPS is 1 or 3")
    parser.add_argument("--random-clips", type=int | None, default=None, help="a seed: draw random clips of each "
                        "video, as training does, instead of clips at fixed positions")  # fmt: skip
    parser.add_argument("--out", type=str | None, default=None, help="folder for the result; default: test-SPLIT in "
                        "the run folder, else test-RECOGNIZER-SPLIT in the current folder")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace the files of another test in --out")
    add_reading(parser)
    parser.add_argument("--batch", type=int, default=8, help="views per forward pass")
    add_optimize(parser)
    parser.add_argument("--strict", action="store_true", help="exit with status 1 if any video could not be read")
    parser.add_argument("--force", action="store_true", help="test even on the split that selected the recognizer's "
                        "epoch; the result is marked")  # fmt: skip
    parser.add_argument(
        "--explain-views", action="store_true", help="draw the views of the first video, without testing"
    )
    add_device(parser)
    add_precision(parser)
    add_json(parser)


def run(args: Namespace) -> None:
    """Tests, writes the files and prints the figures; with several processes only the first writes and prints."""
    from kinema.processes import connected

    with connected() as here:
        _run(args, here)


def _run(args: Namespace, here: Rank) -> None:
    from kinema.evaluation.testing import plan_test, run_test
    from kinema.evaluation.views import explain

    check_reading(args)
    check_optimize(args)
    where = {
        "split": args.split, "views": args.views, "random_clips": args.random_clips,
        "device": here.device(device(args.device)),
    }  # fmt: skip
    if args.explain_views:
        plan = plan_test(args.recognizer, args.data, **where)
        if here.first:
            print(printable(explain(plan.part, plan.recognizer.spec, *plan.views, random_clips=plan.random_clips)))
        return
    run = run_test(
        args.recognizer, args.data, **where, out=args.out or None, overwrite=args.overwrite, workers=args.workers,
        batch=args.batch, limits=read_limits(args), precision=args.precision, force=args.force, progress=progress_bar,
        say=lambda remark: print(printable(remark), file=sys.stderr),
        prepare=lambda plan: optimized(
            args, plan.recognizer, [sample.path for sample in plan.part.samples], batch=args.batch, speaks=here.first
        ),
    )  # fmt: skip
    if here.first:
        _print(run, as_json=args.json, strict=args.strict)


def _print(run: TestRun, *, as_json: bool, strict: bool) -> None:
    from kinema.evaluation.selection import sentence

    test, result = run.plan.test, run.result
    if as_json:
        print(printable(json.dumps(run.to_dict() | {"out": str(run.out)}, indent=2, ensure_ascii=False)))
    else:
        print(printable(f"{test.recognizer} on {test.data}, split {test.split}"))
        tested = sentence(run.plan.selection)
        more = {"recognizer": tested} if tested else {}
        files = {"files": f"{run.out}: metrics.json, scores.parquet, ledger.csv"}
        figures = _figures_of_sets(result) if result.multi_label else _figures(result)
        print_facts(figures | _facts(result, run.plan.recognizer.spec) | more | files)
        for path, reason in result.failures[:SHOWN]:
            print(printable(f"unreadable: {path}: {reason}"))
        if len(result.failures) > SHOWN:
            print(f"… and {len(result.failures) - SHOWN} more; see {run.out}/ledger.csv")
    coverage = result.coverage
    if strict and coverage.failed:
        raise RunError(f"{coverage.failed} of {coverage.expected} videos could not be read; see {run.out}/ledger.csv")


def _figures(result: TestResult) -> dict[str, str]:
    m, k = result.metrics, len(result.labels)
    low, high = m.top1_interval
    return {
        "top-1": f"{m.top1:6.1%}  95 % interval {low:.1%} to {high:.1%} (Wilson{_unread(result)})",
        f"top-{m.k}": f"{m.topk:6.1%}" + (f"  (there are only {k} labels: meaningless)" if m.k == k else ""),
        "mean class": f"{m.mean_class:6.1%}  mean recall over {_classes(m.classes_tested, k)}",
        "majority": f"{m.majority.share:6.1%}  {_majority(m)}",
    }


def _figures_of_sets(result: TestResult) -> dict[str, str]:
    """Returns the figures of a multi-label test, with the average precision per class."""
    m, k = result.set_metrics, len(result.labels)
    low, high = m.mean_ap_interval
    facts = {
        "mAP": f"{m.mean_ap:6.1%}  95 % interval {low:.1%} to {high:.1%} (bootstrap over videos{_unread(result)})",
        "classes": f"        {_classes(m.classes_tested, k)}; a random order has an mAP of about {m.chance:.1%}",
        "hit@1": f"{m.hit1:6.1%}  of the videos have the highest score for one of their labels",
    }
    known = sorted((c.average_precision, c) for c in m.per_class if c.average_precision is not None)
    shown = known if len(known) <= SHOWN else [*known[: SHOWN // 2], *known[-SHOWN // 2 :]]
    for i, (precision, c) in enumerate(shown):
        facts["AP per class" if i == 0 else " " * i] = f"{precision:6.1%}  {c.label} ({plural(c.videos, 'video')})"
    if shown != known:
        facts[" " * len(shown)] = f"the {SHOWN // 2} lowest and highest; metrics.json contains all"
    return facts


def _unread(result: TestResult) -> str:
    failed = result.coverage.failed
    return f"; {failed} unreadable counted as wrong" if failed else ""


def _classes(tested: int, known: int) -> str:
    return f"all {known} classes" if tested == known else f"the {tested} of {known} classes that occur"


def _facts(result: TestResult, spec: ClipSpec) -> dict[str, str]:
    from kinema.data.samplers import find_sampler

    side = spec.test_crop or spec.crop
    stride = "" if not find_sampler(spec.sampler).strided else f" every {spec.stride}"
    scaled = "" if side == spec.tested else f" scaled to {spec.tested}"
    views = result.views
    kind = "sigmoid" if result.multi_label else "softmax"
    fused = "" if views is None or views.clips * views.crops == 1 else f", {kind} scores averaged over the views"
    return {
        "coverage": str(result.coverage),
        "views": str(views),
        "protocol": f"{spec.frames} frames{stride} ({spec.sampler}), crop {side} of short side {spec.short_side}"
        f"{scaled}{fused}",
    }


def _majority(m: Metrics) -> str:
    text = f"always predicting {m.majority.label!r}"
    train = m.train_majority
    if train is not None and train.label != m.majority.label:
        text += f" (always predicting {train.label!r}, the most frequent label in training: {train.share:.1%})"
    return text
