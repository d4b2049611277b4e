"""`kinema data doctor DATA`."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_json
from kinema.cli.output import console, print_json
from kinema.data.doctor import examine
from kinema.errors import KinemaError


def add_arguments(parser: ArgumentParser) -> None:
    """DATA and how deep to look."""
    parser.add_argument("data", type=str, help="a folder with one sub-folder a class, a CSV, or CATALOGUE:FOLDER")
    parser.add_argument("--quick", action="store_true", help="decode no frame: misses half-broken and near-equal files")
    parser.add_argument("--frames", type=int, default=8, help="that a clip needs; shorter videos are listed")
    parser.add_argument("--workers", type=int, default=None, help="threads; default: one a core")
    add_json(parser)


def run(args: Namespace) -> int:
    """Prints the report; status 1 where there are errors."""
    for key in ("frames", "workers"):
        if args[key] is not None and args[key] < 1:
            raise KinemaError(f"--{key} {args[key]}: give at least 1")
    report = examine(args.data, deep=not args.quick, frames=args.frames, workers=args.workers)
    if args.json:
        print_json(report.to_dict())
    else:
        console().print(report.render())
    return 0 if report.ok else 1
