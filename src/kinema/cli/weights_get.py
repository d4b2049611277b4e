"""`kinema weights get RELEASE`."""

from __future__ import annotations

from dataclasses import asdict

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_json
from kinema.cli.output import print_json
from kinema.progress import progress_bar
from kinema.weights.get import Imported, IncompleteWeights, get_release
from kinema.weights.releases import find_release


def add_arguments(parser: ArgumentParser) -> None:
    """Adds RELEASE and the output folder."""
    parser.add_argument("release", type=str, help="a name of `kinema weights list`")
    parser.add_argument("--out", type=str, default=None, help="save a recognizer in this folder")
    parser.add_argument("--file", type=str, default=None, help="file of the release, if it was downloaded by hand")
    parser.add_argument(
        "--labels",
        type=str,
        default=None,
        help="text file with one label per line, in the order of the classifier's outputs",
    )
    parser.add_argument(
        "--classes", type=int, default=None, help="number of outputs of a new classifier that replaces the release's"
    )
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds to wait for the server")
    add_json(parser)


def run(args: Namespace) -> None:
    """Prints the report of the download and conversion, and the output folder."""
    release = find_release(args.release)
    try:
        with progress_bar(f"fetching {release.file}") as progress:
            found = get_release(
                release, args.out, file=args.file, labels=args.labels, classes=args.classes, timeout=args.timeout,
                progress=progress,
            )  # fmt: skip
    except IncompleteWeights as error:
        _report(error.imported, args)
        raise
    _report(found, args)
    if args.json:
        return
    if found.saved is not None:
        print(f"recognizer saved in {args.out}")
    else:
        print(f"start a training from it with --weights {release.name}; save a recognizer with --out DIR")


def _report(found: Imported, args: Namespace) -> None:
    if args.json:
        of_release = {"release": found.card["release"], "file": found.file, "sha256": found.sha256}
        print_json({**asdict(found.report), "complete": found.complete, **of_release})
    else:
        print("\n".join([found.file, f"SHA-256 {found.sha256}", *found.report.lines()]))
