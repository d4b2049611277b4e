"""`kinema explain RECOGNIZER VIDEO...`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_device, add_json, add_recognizer, device
from kinema.cli.output import print_table
from kinema.data.video_search import find_videos
from kinema.errors import KinemaError, unknown
from kinema.explain import DEFAULT_METHOD
from kinema.progress import progress_bar
from kinema.text import printable

if TYPE_CHECKING:
    from kinema.explain.files import Answer
    from kinema.recognizer import Recognizer


def add_arguments(parser: ArgumentParser) -> None:
    """Adds RECOGNIZER, the videos, what to explain and the output."""
    add_recognizer(parser)
    parser.add_argument("videos", nargs="*", type=str, help="video files, folders (searched for videos and folders of "
                        "frames, at any depth) or quoted patterns such as 'clips/**/*.mp4'")  # fmt: skip
    parser.add_argument("--out", type=str, default="explained", help="a file that ends in .mp4, .gif, .png, .svg or "
                        ".json, or a folder for one file per video")  # fmt: skip
    parser.add_argument("--format", type=str | None, default=None, help="format of the files in a folder: mp4 (the "
                        "default), gif, png, svg or json")  # fmt: skip
    parser.add_argument("--method", type=str, default=DEFAULT_METHOD, help="one or more methods, separated by commas "
                        "and shown side by side: tube, cam, gradcam, pyramid, attention, frames, features")  # fmt: skip
    parser.add_argument("--class", type=str, default="top", help="class to explain: top, top3, or the name of a class")
    parser.add_argument("--layer", type=str | None, default=None, help="layer of the network for all methods, or pairs "
                        "such as tube=layer4,gradcam=layer3; default: chosen by the method")  # fmt: skip
    parser.add_argument("--beside", type=str | None, default=None, help="a second recognizer, shown beside the first")
    parser.add_argument(
        "--start", type=float | None, default=None, help="explain and show the video from this time on, in seconds"
    )
    parser.add_argument(
        "--end", type=float | None, default=None, help="explain and show the video up to this time, in seconds"
    )
    parser.add_argument("--window", type=float | None, default=None, help="explain a long video in windows of this "
                        "many seconds")  # fmt: skip
    parser.add_argument("--check", type=str | None, default=None, help="data set: measure how far the methods can be "
                        "trusted on this network, and store the verdicts in its card")  # fmt: skip
    parser.add_argument(
        "--clips", type=int, default=32, help="number of videos for --check, sampled evenly over the classes"
    )
    add_device(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    """Writes a file per video and prints a row per explanation, or checks methods; 1 if a video was unreadable."""
    from kinema.explain.explanation import METHODS
    from kinema.explain.files import Question, explain_videos, places
    from kinema.explain.methods import read_layers
    from kinema.recognizer import Recognizer

    methods = tuple(dict.fromkeys(name.strip() for name in args.method.split(",") if name.strip()))
    for name in methods or ("",):
        if name not in METHODS:
            raise unknown("--method", name, METHODS)
    where = device(args.device)
    if args.check is not None:
        from kinema.cli.explain_check import check_methods

        return check_methods(args, methods, where)
    if not args.videos:
        raise KinemaError("VIDEO is missing: name a video, a folder or a pattern, or give --check DATA")
    names = [args.recognizer, *([args.beside] if args.beside is not None else [])]
    recognizers = [(printable(name), Recognizer.load(name, where)) for name in names]
    target = _target(args["class"], [recognizer for _, recognizer in recognizers])
    question = Question(methods, target, read_layers(args.layer, methods), args.start, args.end, args.window)
    videos = find_videos(args.videos)
    files = places(videos, args.out, args.format)
    answers = []
    with progress_bar("explaining videos") as progress:
        for done, answer in enumerate(explain_videos(recognizers, videos, files, question), 1):
            answers.append(answer)
            if args.json:
                _print_lines(answer)
            if progress is not None:
                progress(done, len(videos))
    if not args.json:
        _print_rows(answers)
    failed = [answer for answer in answers if answer.error is not None]
    for answer in failed:
        print(printable(f"unreadable: {answer.video}: {answer.error}"), file=sys.stderr)
    if failed:
        print(f"kinema: {len(failed)} of {len(videos)} videos could not be explained", file=sys.stderr)
    return 1 if failed else 0


def _target(text: str, recognizers: list[Recognizer]) -> str | int:
    """Returns a class given by its name, or by its number if no class has this name."""
    if text in ("top", "top3"):
        return text
    number = int(text) if text.isascii() and text.isdigit() else None
    for recognizer in recognizers:
        if text not in recognizer.labels and (number is None or number >= len(recognizer.labels)):
            raise unknown("class", text, recognizer.labels)
    return text if number is None or any(text in recognizer.labels for recognizer in recognizers) else number


def _print_lines(answer: Answer) -> None:
    """Prints one line of JSON per explanation, or one with the reason why there is none."""
    head: dict[str, Any] = {"path": answer.video, "file": None if answer.file is None else str(answer.file)}
    for line in answer.facts or [{}]:
        text = json.dumps({**head, **line, "error": answer.error}, ensure_ascii=False)
        print(printable(text), flush=True)


def _print_rows(answers: list[Answer]) -> None:
    rows = []
    several = any("recognizer" in fact for answer in answers for fact in answer.facts)
    for answer in answers:
        for fact in answer.facts or [{"label": "unreadable"}]:
            score = "–" if fact.get("score") is None else f"{fact['score']:.2f}"
            cells = [answer.video, fact["label"], score, fact.get("method", ""), fact.get("layer") or ""]
            cells += [Path(fact.get("recognizer", "")).name] if several else []
            rows.append([printable(cell) for cell in [*cells, "" if answer.file is None else str(answer.file)]])
    columns = ["video", "class", "score", "method", "layer", *(["recognizer"] if several else []), "file"]
    print_table(columns, rows)
