"""`kinema data pack DATA OUT`."""

from __future__ import annotations

import json

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_json
from kinema.cli.output import print_facts
from kinema.data.packing.pack import LEDGER, pack
from kinema.data.sources import ABSENTEES, FLIP_MAP, LABELS
from kinema.errors import RunError
from kinema.progress import progress_bar
from kinema.text import printable

SHOWN = 20  # failed files that are printed; the ledger contains all


def add_arguments(parser: ArgumentParser) -> None:
    """Adds DATA, OUT and the form of the written videos."""
    parser.add_argument("data", type=str, help="a folder with one sub-folder per class, a CSV, or CATALOGUE:FOLDER")
    parser.add_argument("out", type=str, help="a new or empty folder, or one whose packing was interrupted")
    parser.add_argument(
        "--short-side",
        type=int,
        default=256,
        help="shorter side of the packed videos in pixels; smaller videos keep their size",
    )
    parser.add_argument("--gop", type=int, default=12, help="frames from one keyframe to the next")
    parser.add_argument("--shards", action="store_true", help="write tar shards (WebDataset) instead of folders")
    parser.add_argument("--workers", type=int | None, default=None, help="processes; default: one per core")
    add_json(parser)


def run(args: Namespace) -> None:
    """Packs the videos; returns 1 if a video could not be read."""
    with progress_bar("packing videos") as progress:
        done = pack(
            args.data, args.out, short_side=args.short_side, gop=args.gop, shards=args.shards, workers=args.workers,
            progress=progress,
        )  # fmt: skip
    if args.json:
        print(printable(json.dumps(done.to_dict(), indent=2, ensure_ascii=False)))
    else:
        for remark in done.remarks:
            print(printable(f"note: {remark}"))
        packed = done.written + done.kept
        names = ("manifest.csv", LABELS, FLIP_MAP, ABSENTEES, LEDGER)
        files = ", ".join(name for name in names if (done.out / name).is_file())
        print_facts(
            {
                "packed": f"{packed} of {done.videos} videos, {done.written} now and {done.kept} before",
                "size": f"{done.size_before / 2**20:.1f} MiB before, {done.size_after / 2**20:.1f} MiB now",
                "files": f"{done.out}: {files}",
            }
        )
        for path, reason in done.failures[:SHOWN]:
            print(printable(f"unreadable: {path}: {reason}"))
        if len(done.failures) > SHOWN:
            print(f"… and {len(done.failures) - SHOWN} more; see {done.out / LEDGER}")
    if done.failures:
        raise RunError(
            f"{len(done.failures)} of {done.videos} videos could not be read; those that exist were copied "
            f"unchanged; see {done.out / LEDGER}"
        )
