"""`--optimize`, shared by the commands that run a recognizer."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.output import print_table
from kinema.errors import KinemaError
from kinema.text import printable

if TYPE_CHECKING:
    from kinema.backends.report import Report
    from kinema.recognizer import Recognizer

BUDGET = 30.0


def add_optimize(parser: ArgumentParser) -> None:
    """Adds `--optimize`, `--optimize-budget` and `--int8`."""
    parser.add_argument("--optimize", action="store_true", help="first find the fastest way to run the network on this "
                        "machine with the same top-1 labels; the choice is stored for later runs")  # fmt: skip
    parser.add_argument("--optimize-budget", type=float | None, default=None, help="seconds after which --optimize "
                        f"starts no further trial; default: {BUDGET:g}")  # fmt: skip
    parser.add_argument("--int8", action="store_true", help="let --optimize also try int8")


def check_optimize(args: Namespace) -> None:
    """Raises `KinemaError` for options of `--optimize` without it, and for an invalid budget."""
    budget = args.optimize_budget
    if not args.optimize and (args.int8 or budget is not None):
        given = "--int8" if args.int8 else f"--optimize-budget {budget:g}"
        raise KinemaError(f"{given}needs --optimize: add it")
    if budget is not None and not (budget > 0 and math.isfinite(budget)):
        raise KinemaError(f"--optimize-budget {budget:g}: give seconds above 0")
    if args.optimize and args.get("precision", "32") != "32":
        raise KinemaError(f"--precision {args.precision}: --optimize already tries bfloat16; remove one of the two")


def optimized(
    args: Namespace, recognizer: Recognizer, videos: Sequence[str | Path] = (), *, batch: int = 1, speaks: bool = True
) -> None:
    """Optimizes the recognizer if `--optimize` is given, and prints the trials on stderr; with --json as one JSON line.

    Args:
        args: arguments of the command.
        recognizer: the recognizer to optimize.
        videos: the videos that it will classify.
        batch: clips per forward pass.
        speaks: whether this process prints.
    """
    if not args.optimize:
        return
    if recognizer.device.type == "cpu":
        batch = 1  # on a CPU the time per clip hardly depends on the batch, but a large batch uses up the budget
    recognizer.optimize(recognizer.device, args.optimize_budget or BUDGET, videos=videos, batch=batch, int8=args.int8)
    assert recognizer.report is not None
    if speaks and args.json:
        print(json.dumps({"optimize": recognizer.report.to_dict()}), file=sys.stderr, flush=True)
    elif speaks:
        _show(recognizer.report)


def optimized_windows(args: Namespace, recognizer: Recognizer, mode: str, videos: Sequence[str | Path] = ()) -> None:
    """Does the same as `optimized`, for a command that may process a video frame by frame.

    Args:
        args: arguments of the command.
        recognizer: the recognizer to optimize.
        mode: `window`, `step` or `delayed`; `Recognizer.optimize` applies only to `window`.
        videos: the videos that it will classify.

    Raises:
        KinemaError: `--optimize` with a mode other than `window`.
    """
    if args.optimize and mode != "window":
        raise KinemaError(
            f"--optimize applies to windows, but mode {mode} processes single frames: remove it, or give --mode window"
        )
    optimized(args, recognizer, videos)


def _show(report: Report) -> None:
    from kinema.backends.report import COLUMNS

    with redirect_stdout(sys.stderr):
        if not report.stored:
            print_table(COLUMNS, [[printable(cell) for cell in row] for row in report.rows()])
        for remark in report.remarks:
            print(printable(f"note: {remark}"))
        print(printable(f"optimize: {report.sentence()}"), flush=True)
