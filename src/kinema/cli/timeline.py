"""`kinema timeline RECOGNIZER VIDEO...`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_device, add_json, add_recognizer, device, read_limits
from kinema.cli.optimized import add_optimize, check_optimize, optimized_windows
from kinema.cli.output import print_table
from kinema.data.loading.limits import ReadLimits
from kinema.errors import KinemaError
from kinema.progress import progress_bar
from kinema.tables import csv_text
from kinema.text import plural, printable

if TYPE_CHECKING:
    from kinema.recognizer import Recognizer
    from kinema.streaming.timelines import SegmentSettings, Timeline


def add_arguments(parser: ArgumentParser) -> None:
    """Adds RECOGNIZER, the videos, the options of segmentation and the form of the result."""
    add_recognizer(parser)
    parser.add_argument("videos", nargs="*", type=str, default=[], help="video files, folders or quoted patterns")
    parser.add_argument("--calibrate", type=str | None, default=None, help="set the thresholds on labelled long "
                        "videos, a CSV with path,label,start,end, and store them in the recognizer's card")  # fmt: skip
    parser.add_argument("--data", type=str | None, default=None, help="measure on these labelled long videos; default "
                        "with --calibrate: the split test of the same data")  # fmt: skip
    parser.add_argument("--split", type=str | None, default=None, help="split of --data, or of --calibrate without "
                        "--data; default: test to measure, val to calibrate")  # fmt: skip
    parser.add_argument("--threshold", type=float | None, default=None, help="score from 0 to 1 at which a segment "
                        "begins; default from --threshold to --background: the values in the card")  # fmt: skip
    parser.add_argument("--release", type=float | None, default=None, help="score below which a segment ends, at most "
                        "--threshold")  # fmt: skip
    parser.add_argument("--shortest", type=float | None, default=None, help="minimum length of a segment in seconds")
    parser.add_argument("--smoothing", type=float | None, default=None, help="seconds over which scores are averaged")
    parser.add_argument("--lag", type=float | None, default=None, help="seconds by which scores trail the action")
    parser.add_argument("--background", type=list[str], default=[], help="labels that mean no action, separated "
                        "by commas")  # fmt: skip
    parser.add_argument("--mode", type=str, default="auto", help="step: frame by frame, for causal networks; delayed: "
                        "the same for networks that look ahead; window: overlapping windows; auto: step if the network "
                        "is causal, else window")  # fmt: skip
    parser.add_argument("--rate", type=float | None, default=None, help="frames per second to classify; "
                        "default: the frame spacing used in training")  # fmt: skip
    parser.add_argument("--window", type=float | None, default=None, help="length of a window in seconds; default: the "
                        "length of a clip in training")  # fmt: skip
    parser.add_argument("--step", type=float | None, default=None, help="seconds from one window to the next; default: "
                        "a quarter of the window")  # fmt: skip
    parser.add_argument(
        "--csv", action="store_true", help="print CSV with path,label,start,end, which kinema train reads"
    )
    parser.add_argument("--video", type=str | None, default=None, help="also write the video with its segments drawn "
                        "into it: a file, or a folder for several videos")  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, help="1: read videos in another process; 0: in this one, "
                        "without protection from files that crash or hang")  # fmt: skip
    parser.add_class_arguments(ReadLimits, "limits")
    add_optimize(parser)
    add_device(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    """Prints segments, or sets and measures thresholds; returns 1 if a video could not be read."""
    _check(args)
    from kinema.recognizer import Recognizer

    recognizer = Recognizer.load(args.recognizer, device(args.device))
    if args.calibrate is not None or args.data is not None:
        from kinema.cli.timeline_labelled import on_labelled_films

        settings = _settings(args, recognizer)
        assert settings.sight is not None
        optimized_windows(args, recognizer, settings.sight.mode)
        return on_labelled_films(args, recognizer, settings)
    return _on_films(args, recognizer)


def _check(args: Namespace) -> None:
    if args.json and args.csv:
        raise KinemaError("--json and --csv exclude each other: give only one of them")
    if args.workers < 0:
        raise KinemaError(f"--workers {args.workers}: give 0 or 1")
    check_optimize(args)
    read_limits(args)
    labelled = "--calibrate" if args.calibrate is not None else "--data" if args.data is not None else None
    if labelled is None and not args.videos:
        raise KinemaError("VIDEO is missing: name a video, or give labelled videos with --data or --calibrate")
    if labelled is None and args.split is not None:
        raise KinemaError(f"--split {args.split}: applies to labelled videos only; add --data or --calibrate")
    for name in ("videos", "csv", "video"):
        if labelled is not None and getattr(args, name):
            shown = "VIDEO " + args.videos[0] if name == "videos" else f"--{name}"
            raise KinemaError(
                f"{shown}: {labelled} prints no segments; find those of other videos with a second command"
            )
    from kinema.streaming.segments import SegmentRule

    for name in SegmentRule().to_dict():
        if args.calibrate is not None and getattr(args, name) is not None:
            raise KinemaError(f"--{name} {getattr(args, name):g}: --calibrate sets it; remove one of the two")
    if args.calibrate is not None and args.recognizer.startswith("hf-hub:"):
        raise KinemaError(
            f"{args.recognizer}: thresholds are stored in the card; save the recognizer in a folder first"
        )


def _settings(args: Namespace, recognizer: Recognizer) -> SegmentSettings:
    """Returns the settings of the command line, else those of the card, else the defaults."""
    from kinema.streaming.segments import SegmentRule
    from kinema.streaming.timelines import settled, stored_settings

    try:
        there = stored_settings(recognizer)
    except KinemaError as error:
        raise KinemaError(f"{args.recognizer}: {error}") from error
    base = (there.rule if there else SegmentRule()).to_dict()
    given = {name: getattr(args, name) for name in base if getattr(args, name) is not None}
    rule = None
    if given:
        if "threshold" in given and "release" not in given:  # the stored release belongs to another threshold
            base["release"] = min(base["release"], given["threshold"])
        rule = SegmentRule(**{**base, **given})
    settings = settled(
        recognizer, rule=rule, background=args.background or None, mode=args.mode, rate=args.rate, window=args.window,
        step=args.step,
    )  # fmt: skip
    if args.calibrate is None:
        _say_where_from(there, settings, given)
    return settings


def _say_where_from(there: SegmentSettings | None, settings: SegmentSettings, given: dict[str, float]) -> None:
    needed = settings.rule.to_dict().keys() - {"lag"}  # a default lag of 0 is reasonable; a default threshold is not
    if there is None and needed - given.keys():
        _note("the thresholds are defaults, not calibrated for this recognizer; see --calibrate")
    elif there is not None and there.sight is not None and there.sight != settings.sight:
        assert settings.sight is not None
        _note(f"the thresholds were set with {there.sight.describe()}, not with {settings.sight.describe()}")


def _on_films(args: Namespace, recognizer: Recognizer) -> int:
    from kinema.data.video_search import find_videos
    from kinema.streaming.timelines import SEGMENT_COLUMNS, timelines

    settings = _settings(args, recognizer)
    videos = find_videos(args.videos)
    assert settings.sight is not None
    optimized_windows(args, recognizer, settings.sight.mode, videos)
    places = _places(videos, args.video)
    if args.csv:
        print(",".join(SEGMENT_COLUMNS))
    found: list[Timeline] = []
    out = sys.stdout
    with progress_bar("reading videos") as progress:
        coming = timelines(recognizer, videos, settings, workers=args.workers, limits=read_limits(args))
        for done, line in enumerate(coming, 1):
            found.append(line)
            if places and line.error is None:
                from kinema.streaming.annotated import write_annotated

                write_annotated(places[done - 1], line, recognizer.labels)
            if args.json or args.csv:
                for text in [json.dumps(line.to_dict(), ensure_ascii=False)] if args.json else _csv(line):
                    print(printable(text), file=out, flush=True)
            if progress is not None:
                progress(done, len(videos))
    if not (args.json or args.csv):
        _table(found)
    return _complain(found)


def _places(videos: Sequence[str], out: str | None) -> list[Path]:
    if out is None:
        return []
    from kinema.explain.files import places

    if Path(out).suffix.lower() not in ("", ".mp4") and not Path(out).is_dir():
        raise KinemaError(f"--video {out}: videos are written as .mp4; give a name that ends in .mp4, or a folder")
    try:
        return places(videos, out)
    except KinemaError as error:
        raise KinemaError(str(error).replace("--out", "--video")) from error


def _csv(line: Timeline) -> Iterator[str]:
    """Returns the path as an absolute one, so that the table can be stored anywhere."""
    path = os.path.abspath(line.path)  # noqa: PTH100 - Path would change the text of some names
    for cells in line.rows(path):
        yield csv_text((), [cells]).removesuffix("\n")


def _table(found: Sequence[Timeline]) -> None:
    rows = []
    for line in found:
        for s in line.segments:
            rows.append([line.path, f"{s.t_start:.2f}", f"{s.t_end:.2f}", s.label, f"{s.score:.2f}"])
        if not line.segments:
            rows.append([line.path, "–", "–", "unreadable" if line.error is not None else "no action", "–"])
    print_table(["video", "from s", "to s", "label", "score"], [[printable(cell) for cell in row] for row in rows])


def _complain(found: Sequence[Timeline]) -> int:
    failed = [line for line in found if line.error is not None]
    for line in found:
        if line.error is not None:
            print(printable(f"unreadable: {line.path}: {line.error}"), file=sys.stderr)
        for part in line.lost:
            place = f"{line.path} from {part.t_start:.2f} to {part.t_end:.2f} s"
            print(printable(f"unreadable: {place}: {part.reason}"), file=sys.stderr)
    if failed:
        print(f"kinema: {len(failed)} of {plural(len(found), 'video')} could not be read", file=sys.stderr)
    return 1 if failed or any(line.lost for line in found) else 0


def _note(text: str) -> None:
    print(printable(f"kinema: note: {text}"), file=sys.stderr)
