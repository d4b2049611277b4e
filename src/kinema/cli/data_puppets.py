"""`kinema data puppets DIR`."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.output import say
from kinema.progress import progress_bar
from kinema.puppets import contact_sheet, generate


def add_arguments(parser: ArgumentParser) -> None:
    """DIR and the number of clips."""
    parser.add_argument("dir", type=str, help="a new or empty folder")
    parser.add_argument("--seed", type=int, default=0, help="all randomness comes from it")
    parser.add_argument("--train", type=int, default=90, help="clips of every class in the split train")
    parser.add_argument("--test", type=int, default=16, help="clips of every class in the split test; 0: no such split")
    parser.add_argument("--speed", type=int, default=8, help="clips of every class in the split speed; 0: none")
    parser.add_argument("--size", type=int, default=112, help="side of the picture in pixels")
    parser.add_argument("--workers", type=int, default=None, help="processes; default: one a core")
    parser.add_argument("--sheet", type=str, default=None, help="also draw a contact sheet into this PNG file")


def run(args: Namespace) -> None:
    """Generates the data set."""
    with progress_bar("clips") as progress:
        folder = generate(
            Path(args.dir), seed=args.seed, train=args.train, test=args.test, speed=args.speed, size=args.size,
            workers=args.workers, progress=progress,
        )  # fmt: skip
    say(f"{folder}: complete; manifest.csv lists its clips, flip_map.json what a mirror does to their labels")
    if args.sheet is not None:
        shown = "test" if args.test else "train"
        say(f"contact sheet: {contact_sheet(folder, Path(args.sheet), split=shown)}")
