"""`kinema report RUN...`."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_device, device
from kinema.errors import KinemaError
from kinema.progress import progress_bar
from kinema.report.make import make_report


def add_arguments(parser: ArgumentParser) -> None:
    """Adds RUN... and what else to compute."""
    parser.add_argument("runs", type=str, nargs="+", help="run folders or test folders; all others are compared "
                        "with the first")  # fmt: skip
    parser.add_argument("--out", type=str, default="report.html", help="the HTML file to write")
    parser.add_argument("--features", action="store_true", help="also run the recognizers on their tests and draw a "
                        "t-SNE of their features")  # fmt: skip
    parser.add_argument("--explain", type=int, default=0, help="number of the most confident mistakes and hits of each "
                        "run to show with evidence maps, together with example frames of classes")  # fmt: skip
    parser.add_argument("--data", type=str | None, default=None, help="the tested data, for --features and "
                        "--explain; default: the path that the test recorded")  # fmt: skip
    parser.add_argument("--groups", type=str, nargs="+", default=[], help="groups of runs whose means are "
                        "compared, each as NAME=PATTERN, where PATTERN matches names of runs, such as 'stm=stm_s*'; "
                        "default: runs that differ only in the seed")  # fmt: skip
    parser.add_argument("--latency", action="store_true", help="measure the time per clip of each network, "
                        "interleaved, and plot accuracy against it")  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=-1, help="processes that read videos; -1: one per core, at most 16"
    )
    add_device(parser)


def run(args: Namespace) -> None:
    """Writes the page, and prints what it could not show."""
    if args.workers < -1:
        raise KinemaError(f"--workers {args.workers}: give 0 or more, or -1 for one per core")
    if args.explain < 0:
        raise KinemaError(f"--explain {args.explain}: give a number of videos, or 0 for none")
    if args.data is not None and not (args.features or args.explain):
        raise KinemaError("--data applies to --features and --explain only: add one of them, or remove --data")
    found = make_report(
        args.runs, args.out, with_features=args.features, explain=args.explain, data=args.data, groups=args.groups,
        with_latency=args.latency, workers=args.workers, device=device(args.device), progress=progress_bar,
    )  # fmt: skip
    for shown in found:
        for sentence in shown.missing:
            print(f"missing: {sentence}")
    print(f"{args.out}: {', '.join(shown.name for shown in found)}")
