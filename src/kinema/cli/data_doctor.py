"""`kinema data doctor DATA`."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_json
from kinema.cli.output import console, print_json
from kinema.data.doctor.examine import examine
from kinema.errors import KinemaError


def add_arguments(parser: ArgumentParser) -> None:
    """Adds DATA and the depth of the check."""
    parser.add_argument("data", type=str, help="a folder with one sub-folder per class, a CSV, or CATALOGUE:FOLDER")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="decode no frames; this cannot find partly damaged or near-duplicate files",
    )
    parser.add_argument("--frames", type=int, default=8, help="frames per clip; videos with fewer frames are listed")
    parser.add_argument("--workers", type=int, default=-1, help="processes; -1: one per core, at most 16")
    add_json(parser)


def run(args: Namespace) -> int:
    """Prints the report; returns 1 if it contains errors."""
    if args.frames < 1:
        raise KinemaError(f"--frames {args.frames}: give at least 1")
    if args.workers < -1:
        raise KinemaError(f"--workers {args.workers}: give 0 or more, or -1 for one per core")
    report = examine(args.data, deep=not args.quick, frames=args.frames, workers=args.workers)
    if args.json:
        print_json(report.to_dict())
    else:
        console().print(report.render())
    return 0 if report.ok else 1
