"""`kinema report RUN...`."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_device, device
from kinema.errors import KinemaError
from kinema.progress import progress_bar
from kinema.report.make import make_report


def add_arguments(parser: ArgumentParser) -> None:
    """RUN... and what else to compute."""
    parser.add_argument("runs", type=str, nargs="+", help="run folders or test folders; the later ones are compared "
                        "with the first")  # fmt: skip
    parser.add_argument("--out", type=str, default="report.html", help="the HTML file to write")
    parser.add_argument("--features", action="store_true", help="also run the recognizers on their tests, for a t-SNE "
                        "of their features")  # fmt: skip
    parser.add_argument("--explain", type=int, default=0, help="show this many of the most confident mistakes and hits "
                        "of each run with their saliency tubes, and example frames of classes")  # fmt: skip
    parser.add_argument("--data", type=str | None, default=None, help="where the tested videos are, for --features and "
                        "--explain; default: where they were")  # fmt: skip
    parser.add_argument("--groups", type=str, nargs="+", default=[], help="groups of runs whose means are "
                        "compared, each as NAME=PATTERN of names of runs, such as 'stm=stm_s*'; default: runs that "
                        "differ in the seed alone")  # fmt: skip
    parser.add_argument("--latency", action="store_true", help="measure the time of a clip in each network, by turns, "
                        "and draw accuracy over it")  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=-1, help="processes that read videos; -1: one per core, at most 16"
    )
    add_device(parser)


def run(args: Namespace) -> None:
    """Writes the page, and says what it could not show."""
    if args.workers < -1:
        raise KinemaError(f"--workers {args.workers}: give 0 or more, or -1 for one per core")
    if args.explain < 0:
        raise KinemaError(f"--explain {args.explain}: give a number of videos, or 0 for none")
    if args.data is not None and not (args.features or args.explain):
        raise KinemaError("--data is for --features and --explain only: give one of them too, or leave it out")
    found = make_report(
        args.runs, args.out, with_features=args.features, explain=args.explain, data=args.data, groups=args.groups,
        with_latency=args.latency, workers=args.workers, device=device(args.device), progress=progress_bar,
    )  # fmt: skip
    for shown in found:
        for sentence in shown.missing:
            print(f"missing: {sentence}")
    print(f"{args.out}: {', '.join(shown.name for shown in found)}")
