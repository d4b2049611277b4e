"""`kinema predict RECOGNIZER VIDEO...`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace
from rich.cells import cell_len

from kinema.cli.arguments import (
    add_device,
    add_json,
    add_precision,
    add_reading,
    add_recognizer,
    check_reading,
    device,
    read_limits,
)
from kinema.cli.optimized import add_optimize, check_optimize, optimized
from kinema.cli.output import print_table
from kinema.data.label_sets import joined
from kinema.errors import KinemaError, UnreadableVideo
from kinema.progress import progress_bar
from kinema.tables import csv_text
from kinema.text import printable

if TYPE_CHECKING:
    from kinema.recognizer import Prediction, Recognizer

_NEXT = 3  # labels in a table row; --json and --csv print all of --top-k


@dataclass(frozen=True)
class Row:
    """One line of the result: the prediction for a video or a window of it, or the reason why there is none.

    Attributes:
        path: path of the video.
        prediction: the prediction, or None.
        error: the reason why there is no prediction, or None.
        span: start and end in seconds; None if the whole file could not be opened.
    """

    path: str
    prediction: Prediction | None
    error: str | None = None
    span: tuple[float, float] | None = None

    @property
    def place(self) -> str:
        """The path and, for a window, its times."""
        return self.path if self.span is None else f"{self.path} from {self.span[0]:.2f} to {self.span[1]:.2f} s"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds RECOGNIZER, the videos and the form of the result."""
    add_recognizer(parser)
    parser.add_argument("videos", nargs="+", type=str, help="video files, folders (searched for videos and folders of "
                        "frames, at any depth) or quoted patterns such as 'clips/**/*.mp4'")  # fmt: skip
    parser.add_argument("--window", type=float | None, default=None, help="seconds per window; prints one row per "
                        "window of a long video, as soon as it is read")  # fmt: skip
    parser.add_argument("--step", type=float | None, default=None, help="seconds between windows; default: --window")
    parser.add_argument("--views", type=str, default="1x1", help="CLIPSxCROPS per video, whose scores are "
                        "averaged as in a test; CROPS is 1 or 3")  # fmt: skip
    parser.add_argument("--top-k", type=int, default=5, help="number of labels per row, best first")
    parser.add_argument("--threshold", type=float | None, default=None, help="for multi-label recognizers: predict the "
                        "labels with at least this score; default: 0.5")  # fmt: skip
    parser.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    add_reading(parser)
    parser.add_argument("--batch", type=int, default=8, help="views per forward pass")
    add_optimize(parser)
    add_device(parser)
    add_precision(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    """Prints a row for every video or window; returns 1 if one of them could not be read."""
    _check(args)
    from kinema.data.video_search import find_videos
    from kinema.recognizer import Recognizer

    where = device(args.device)
    recognizer = Recognizer.load(args.recognizer, where).in_precision(args.precision)
    if args.threshold is not None:
        if not recognizer.multi_label:
            raise KinemaError(
                f"--threshold {args.threshold:g}: {args.recognizer} predicts one label per video; remove it"
            )
        recognizer.threshold = args.threshold
    videos = find_videos(args.videos)
    optimized(args, recognizer, videos, batch=args.batch)
    show = _printer(args, recognizer, videos)
    rows: list[Row] = []
    failed: list[Row] = []
    total = 0
    out = sys.stdout  # a progress bar replaces it by a stream that leads to stderr
    at_once = show is not None and out.isatty()  # rows and a progress bar on the same terminal would be mixed up
    with nullcontext() if at_once else progress_bar("predicting videos") as progress:
        for done, row in _rows(recognizer, videos, args):
            total += 1
            if row.error is not None:
                failed.append(row)
            if show is not None:
                print(printable(show(row)), file=out, flush=True)
            else:
                rows.append(row)
            if progress is not None:
                progress(done, len(videos))
    if show is None:
        _table(rows)
    for row in failed:
        print(printable(f"unreadable: {row.place}: {row.error}"), file=sys.stderr)
    if failed:
        what = f"{total} windows" if args.window is not None else f"{len(videos)} videos"
        print(f"kinema: {len(failed)} of {what} could not be read", file=sys.stderr)
    return 1 if failed else 0


def _check(args: Namespace) -> None:
    if args.optimize and args.precision != "32":
        raise KinemaError(f"--precision {args.precision}: --optimize chooses the precision; remove one of the two")
    if args.json and args.csv:
        raise KinemaError("--json and --csv exclude each other: give only one of them")
    check_reading(args)
    check_optimize(args)
    if args.views != "1x1" and args.window is not None:
        raise KinemaError(f"--views {args.views}: --window uses one view per window; remove one of the two")
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        raise KinemaError(f"--threshold {args.threshold:g}: give a score from 0 to 1")
    if args.top_k < 1:
        raise KinemaError(f"--top-k {args.top_k}: give at least 1")
    if args.window is None and args.step is not None:
        raise KinemaError(f"--step {args.step:g} needs --window: give the length of a window in seconds too")
    if args.window is not None and not 0 < (args.window if args.step is None else args.step) <= args.window:
        step = "" if args.step is None else f" --step {args.step:g}"
        raise KinemaError(f"--window {args.window:g}{step}: give seconds with 0 < step <= window")


def _rows(recognizer: Recognizer, videos: Sequence[str], args: Namespace) -> Iterator[tuple[int, Row]]:
    """Yields (number of videos read so far, including the current one, and a row)."""
    if args.window is None:
        found = recognizer.predict_many(
            videos, views=args.views, top_k=args.top_k, workers=args.workers, batch=args.batch,
            limits=read_limits(args),
        )  # fmt: skip
        for done, (path, prediction) in enumerate(zip(videos, found, strict=True), 1):
            if isinstance(prediction, UnreadableVideo):
                yield done, Row(path, None, prediction.reason)
            else:
                yield done, Row(path, prediction)
        return
    from kinema.recognizer import FailedWindow

    for done, path in enumerate(videos, 1):
        try:
            parts = recognizer.predict_windows(
                path, window=args.window, step=args.step, top_k=args.top_k, workers=args.workers,
                limits=read_limits(args),
            )  # fmt: skip
            for part in parts:
                span = (part.t_start, part.t_end)
                if isinstance(part, FailedWindow):
                    yield done, Row(path, None, part.reason, span)
                else:
                    yield done, Row(path, part, None, span)
        except UnreadableVideo as error:
            yield done, Row(path, None, error.reason)


def _printer(args: Namespace, recognizer: Recognizer, videos: Sequence[str]) -> Callable[[Row], str] | None:
    """Prints the header, if there is one, and returns the formatter of rows; None if a table needs all rows first."""
    if args.json:
        return partial(_json, several=recognizer.multi_label)
    if args.csv:
        return _csv(min(args.top_k, len(recognizer.labels)), several=recognizer.multi_label)
    return None if args.window is None else _table_of_windows(recognizer.labels, videos)


def _json(row: Row, *, several: bool) -> str:
    start, end = row.span or (None, None)
    empty: dict[str, Any] = {"label": None, "score": None, "top_k": [], "t_start": start, "t_end": end}
    empty |= {"labels": None} if several else {}
    values = row.prediction.to_dict() if row.prediction is not None else empty
    return json.dumps({"path": row.path, **values, "error": row.error}, ensure_ascii=False)


def _csv(k: int, *, several: bool) -> Callable[[Row], str]:
    ranked = [f"{name}_{i}" for i in range(2, k + 1) for name in ("label", "score")]
    ranked += ["labels"] if several else []
    print(_line(["path", "t_start", "t_end", "label", "score", *ranked, "error"]))

    def show(row: Row) -> str:
        p = row.prediction
        if p is None:
            span = ["", ""] if row.span is None else [f"{at:.3f}" for at in row.span]
            return _line([row.path, *span, *[""] * (2 + len(ranked)), row.error or ""])
        scores = [value for label, score in p.top_k for value in (label, f"{score:.6f}")]
        scores += [] if p.labels is None else [joined(p.labels)]
        return _line([row.path, f"{p.t_start:.3f}", f"{p.t_end:.3f}", *scores, ""])

    return show


def _line(cells: Sequence[str]) -> str:
    return csv_text((), [cells]).removesuffix("\n")


def _table(rows: Sequence[Row]) -> None:
    cells = []
    for row in rows:
        p = row.prediction
        seconds = "–" if p is None else f"{p.t_end - p.t_start:.2f}"
        cells.append([printable(cell) for cell in (row.path, seconds, *_answer(row))])
    columns = ["video", "seconds", "label", "score"]
    if any(row[-1] for row in cells):
        columns.append("then")
    print_table(columns, [row[: len(columns)] for row in cells])


def _answer(row: Row) -> tuple[str, str, str]:
    """Returns the label, its score and the next labels with their scores."""
    p = row.prediction
    if p is None:
        return "unreadable", "–", ""
    others = ", ".join(f"{label} {score:.2f}" for label, score in p.top_k[1:_NEXT])
    if p.labels is not None:
        shown = ", ".join(f"{label} {score:.2f}" for label, score in p.top_k[:_NEXT])
        return ", ".join(p.labels) or "–", f"{p.score:.2f}", shown
    return p.label, f"{p.score:.2f}", others


def _table_of_windows(labels: Sequence[str], videos: Sequence[str]) -> Callable[[Row], str]:
    """A table printed row by row; its columns are as wide as their longest possible content."""
    columns = {"video": videos, "from s": ["36000.00"], "to s": ["36000.00"], "label": [*labels, "unreadable"]}
    widths = [max(cell_len(printable(cell)) for cell in (name, *cells)) for name, cells in columns.items()]

    def line(*cells: str) -> str:
        video, start, end, label, *rest = map(printable, cells)
        left = [video, start.rjust(widths[1]), end.rjust(widths[2]), label]
        padded = [cell + " " * (width - cell_len(cell)) for cell, width in zip(left, widths, strict=True)]
        return "  ".join([*padded, *rest]).rstrip()

    print(line(*columns, "score", "then"))

    def show(row: Row) -> str:
        times = ["–", "–"] if row.span is None else [f"{at:.2f}" for at in row.span]
        label, score, others = _answer(row)
        return line(row.path, *times, label, score.rjust(len("score")), others or row.error or "")

    return show
