"""`kinema label RECOGNIZER INPUT OUTPUT`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_device, add_json, add_reading, add_recognizer, check_reading, device, read_limits
from kinema.cli.output import print_facts, print_json
from kinema.labelling.ledger import PART_ROWS
from kinema.progress import ProgressBar, on_terminal
from kinema.text import plural, printable

if TYPE_CHECKING:
    from kinema.labelling.run import Labelled, Progress

_LINES = 30.0  # seconds between lines of progress if no bar can be drawn


def add_arguments(parser: ArgumentParser) -> None:
    """Adds RECOGNIZER, INPUT, OUTPUT and the options of a run."""
    add_recognizer(parser)
    parser.add_argument("input", type=str, help="a folder (searched at any depth), a quoted pattern, a video, a CSV or "
                        "Parquet list with a column path and optionally start and end (seconds), or an fsspec address "
                        "of any of these, such as s3://bucket/clips")  # fmt: skip
    parser.add_argument("output", type=str, help="folder of the table: Parquet parts and manifest.json; repeat "
                        "the command to resume an interrupted run")  # fmt: skip
    parser.add_argument("--views", type=str, default="1x1", help="CLIPSxCROPS per video, whose scores are "
                        "averaged as in a test; CROPS is 1 or 3")  # fmt: skip
    parser.add_argument(
        "--window",
        type=float | None,
        default=None,
        help="seconds per window; writes one row per window of a long video",
    )
    parser.add_argument("--step", type=float | None, default=None, help="seconds between windows; default: --window")
    parser.add_argument("--top-k", type=int, default=5, help="number of labels per row, best first")
    parser.add_argument("--features", action="store_true", help="also write the features, the input of the classifier")
    parser.add_argument("--retry", type=Literal["failed", "missing"] | None, default=None, help="retry inputs without "
                        "a label. failed: all of them; missing: those not found or not fetched")  # fmt: skip
    add_reading(parser)
    parser.add_argument("--batch", type=int, default=8, help="views per forward pass")
    add_device(parser)
    parser.add_argument("--cluster", type=str | None, default=None, help="`local` or the address of a Ray cluster "
                        "(extra: cluster); --workers then counts its reader processes")  # fmt: skip
    parser.add_argument("--networks", type=int, default=-1, help="processes on the cluster that run the network; -1: "
                        "one per GPU, or half the number of cores without a GPU")  # fmt: skip
    parser.add_argument("--part-rows", type=int, default=PART_ROWS, help="rows per Parquet part")
    add_json(parser)


def run(args: Namespace) -> int:
    """Labels the inputs and prints a summary; returns 0 once the table is complete, even with unreadable videos."""
    check_reading(args)
    where = device(args.device)
    from kinema.labelling.run import label

    shown = _Shown()
    try:
        done = label(
            args.recognizer, args.input, args.output, views=args.views, window=args.window, step=args.step,
            top_k=args.top_k, features=args.features, retry=args.retry, workers=args.workers, batch=args.batch,
            limits=read_limits(args), device=where, cluster=args.cluster, networks=args.networks,
            part_rows=args.part_rows, report=shown,
        )  # fmt: skip
    finally:
        shown.close()
    if args.json:
        print_json({**vars(done), "output": printable(str(done.output))})
    else:
        _print(done)
    return 0


class _Shown:
    """Reports progress on stderr: a bar on a terminal, else a line at intervals."""

    def __init__(self) -> None:
        self._bar: ProgressBar | None = None
        self._last = time.monotonic()

    def __call__(self, now: Progress) -> None:
        words = f"{now.rate:.1f} per second, {now.failed} failed"
        if on_terminal():
            if self._bar is None:
                self._bar = ProgressBar("labelling", "videos")
                self._bar.show()
            self._bar.update(now.done, now.total, words)
        elif time.monotonic() - self._last > _LINES:
            self._last = time.monotonic()
            left = "" if now.left is None else f", {_duration(now.left)} left"
            print(f"kinema: {now.done} of {now.total} done, {words}{left}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.hide()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _print(done: Labelled) -> None:
    fresh = done.inputs - done.before
    stages = ", ".join(f"{count} {stage}" for stage, count in done.stages.items())
    facts = {
        "table": f"{printable(str(done.output))}, {plural(done.inputs + done.others, 'row')}",
        "labelled": f"{done.labelled} of {plural(done.inputs, 'input')}",
        "failed": f"{done.failed}" + (f" ({stages}); the column error says why" if stages else ""),
        "this run": f"{plural(fresh, 'input')} in {_duration(done.seconds)}"
        + (f", {fresh / done.seconds:.1f} per second" if fresh and done.seconds > 0 else "")
        + (f"; {done.before} were done before" if done.before else ""),
    }
    if done.others:
        facts["others"] = f"{plural(done.others, 'row')} of earlier inputs that are not in this INPUT are kept"
    if done.lost:
        facts["damage"] = f"{plural(done.lost, 'row')} of missing or damaged parts were labelled again"
    print_facts(facts)
