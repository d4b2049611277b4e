"""`kinema weights get RELEASE`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from torch import Tensor

from kinema.cli.arguments import add_json, existing
from kinema.cli.output import print_json
from kinema.data.labels import read_label_file, read_labels
from kinema.errors import KinemaError, RunError
from kinema.progress import progress_bar
from kinema.recognizer import Recognizer
from kinema.weights.fetch import check_hash, fetch
from kinema.weights.implied import implied
from kinema.weights.importing import import_weights, read_tensors
from kinema.weights.releases import Release, cache_folder, find_release


def add_arguments(parser: ArgumentParser) -> None:
    """RELEASE, and where the recognizer goes."""
    parser.add_argument("release", type=str, help="a name of `kinema weights list`")
    parser.add_argument("--out", type=str, default=None, help="save a recognizer in this folder")
    parser.add_argument("--file", type=str, default=None, help="the release's file, where it was downloaded by hand")
    parser.add_argument("--labels", type=str, default=None, help="text file with one label a line, in their order")
    parser.add_argument("--classes", type=int, default=None, help="outputs of a new classifier in place of its own")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds to wait for an answer")
    add_json(parser)


def run(args: Namespace) -> None:
    """Fetches, checks and converts; saves only what is complete."""
    release = find_release(args.release)
    for key in ("classes", "timeout"):
        if args[key] is not None and args[key] <= 0:
            raise KinemaError(f"--{key} {args[key]}: give a number above 0")
    labels = _labels(args, release) if args.out is not None else ()
    if args.file is not None:
        path = existing(args.file, "file of weights")
        sha256 = check_hash(release, path)
    else:
        with progress_bar(f"fetching {release.file}") as progress:
            path, sha256 = fetch(release, timeout=args.timeout, progress=progress)
    tensors = _read(path)
    try:
        found = implied(release.model, release.options, tensors)
        model, spec = release.build(args.classes, found)
    except KinemaError as error:
        raise RunError(f"{release.name}: its file is not what is known of it ({error}); nothing was saved") from error
    report = import_weights(model, tensors)
    report = replace(report, remarks=())  # they say how to build the network, which the release knows
    kept = report.classifier or args.classes is not None
    if args.json:
        print_json(
            {**asdict(report), "complete": report.complete and kept, "release": release.name, "file": str(path),
             "sha256": sha256}
        )  # fmt: skip
    else:
        print("\n".join([f"{path}", f"SHA-256 {sha256}", *report.lines()]))
    if not report.complete or not kept:
        raise RunError(f"{release.name}: its file does not fit {release.model} completely; nothing was saved")
    if args.out is None:
        if not args.json:
            print(f"train from it with --weights {release.name}; --out DIR saves a recognizer")
        return
    card = {
        "weights": {
            "release": release.name,
            "source": release.address or release.page,
            "sha256": sha256,
            "licence": release.licence,
            "data": release.data,
            "published": {"top1": release.top1, "top5": release.top5, "views": release.views},
            "classifier": "imported" if report.classifier else "random",
            "format": found.format,
            "implied": found.to_dict(),
        }
    }
    Recognizer(model.eval(), labels, spec, card).save(args.out)
    if not args.json:
        print(f"recognizer saved in {args.out}")


def _labels(args: Namespace, release: Release) -> tuple[str, ...]:
    """What the outputs are called; asked before anything is fetched."""
    wanted = args.classes or release.classes
    if args.labels is not None:
        labels = read_label_file(existing(args.labels, "file of labels"))
        if len(labels) != wanted:
            raise KinemaError(f"{args.labels}: has {len(labels)} labels for {wanted} outputs; give one a line for each")
        return labels
    if args.classes is not None:
        raise KinemaError(f"--classes {args.classes} with --out needs --labels FILE: what the new outputs are called")
    if not release.labels:
        raise KinemaError(
            f"{release.name}: the order of its {release.classes} outputs is not known here; give --labels FILE, or "
            f"leave --out away and train from it with --weights {release.name}"
        )
    return read_labels(release.labels)


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors; what was fetched but cannot be read is deleted, so that the next try fetches it again."""
    try:
        return read_tensors(path)
    except KinemaError as error:
        if cache_folder() in path.parents:
            path.unlink(missing_ok=True)
            raise RunError(f"{error}; what was fetched is deleted") from error
        raise
