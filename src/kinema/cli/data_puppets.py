"""`kinema data puppets DIR`."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.output import say
from kinema.errors import KinemaError
from kinema.progress import progress_bar
from kinema.puppets import contact_sheet, generate, generate_films

_CLIPS = {"train": 90, "test": 16, "speed": 8}  # clips of each class on the contact sheet
_FILMS, _SECONDS = (8, 4, 8), 60.0


def add_arguments(parser: ArgumentParser) -> None:
    """Adds DIR and the number of clips or long videos."""
    parser.add_argument("dir", type=str, help="a new or empty folder")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers")
    parser.add_argument("--train", type=int | None, default=None, help="clips per class in the split train; default: "
                        "90")  # fmt: skip
    parser.add_argument("--test", type=int | None, default=None, help="clips per class in the split test; 0: no "
                        "such split; default: 16")  # fmt: skip
    parser.add_argument("--speed", type=int | None, default=None, help="clips per class in the split speed; 0: no "
                        "such split; default: 8")  # fmt: skip
    parser.add_argument("--size", type=int, default=112, help="height and width of the frames in pixels")
    parser.add_argument("--long", action="store_true", help="generate long videos with several actions each, and list "
                        "their start and end times, instead of clips")  # fmt: skip
    parser.add_argument("--films", type=list[int], default=[], help="with --long: number of videos in the splits "
                        "train, val and test; default: 8,4,8")  # fmt: skip
    parser.add_argument("--seconds", type=float | None, default=None, help="with --long: seconds per video; default: "
                        "60")  # fmt: skip
    parser.add_argument("--idle", type=str | None, default=None, help="with --long: also list the time between "
                        "actions, with this label")  # fmt: skip
    parser.add_argument("--workers", type=int, default=None, help="processes; default: one per core")
    parser.add_argument("--sheet", type=str, default=None, help="also write a contact sheet of the clips to this PNG "
                        "file")  # fmt: skip


def run(args: Namespace) -> None:
    """Generates the data set."""
    out = Path(args.dir)
    _refuse(args)
    if args.long:
        with progress_bar("videos") as progress:
            folder = generate_films(
                out, seed=args.seed, films=tuple(args.films or _FILMS),
                seconds=_SECONDS if args.seconds is None else args.seconds, size=args.size, idle=args.idle,
                workers=args.workers, progress=progress,
            )  # fmt: skip
        say(f"{folder}: complete; manifest.csv lists every action with its video, label, start and end")
        return
    counts = {name: usual if getattr(args, name) is None else getattr(args, name) for name, usual in _CLIPS.items()}
    with progress_bar("clips") as progress:
        folder = generate(out, seed=args.seed, **counts, size=args.size, workers=args.workers, progress=progress)
    say(f"{folder}: complete; manifest.csv lists its clips, flip_map.json the labels of mirrored clips")
    if args.sheet is not None:
        shown = "test" if counts["test"] else "train"
        say(f"contact sheet: {contact_sheet(folder, Path(args.sheet), split=shown)}")


def _refuse(args: Namespace) -> None:
    """Raises `KinemaError` for an option that would have no effect."""
    clips, films = (*_CLIPS, "sheet"), ("films", "seconds", "idle")
    for name in clips if args.long else films:
        if getattr(args, name) not in (None, []):
            fix = (
                "it applies to clips: remove it, or remove --long"
                if args.long
                else "it applies to long videos: add --long"
            )
            raise KinemaError(f"--{name} {getattr(args, name)}: {fix}")
