"""`kinema predict RECOGNIZER VIDEO...`."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_device, add_json, add_recognizer, device
from kinema.cli.output import print_table, progress_bar
from kinema.data.clutter import is_clutter
from kinema.data.paths import locate
from kinema.errors import KinemaError, UnreadableVideo
from kinema.evaluation.naming import printable

if TYPE_CHECKING:
    from kinema.recognizer import Prediction, Recognizer

_WILD = "*?["
_NEXT = 3  # labels of a table row; --json and --csv give all of --top-k


@dataclass(frozen=True)
class Row:
    """One line of the result: a prediction of a video or of a window of it, or why there is none."""

    path: str
    prediction: Prediction | None
    error: str | None = None


def add_arguments(parser: ArgumentParser) -> None:
    """RECOGNIZER, the videos and the form of the result."""
    add_recognizer(parser)
    parser.add_argument("videos", nargs="+", type=str, help="video files, folders (searched for videos and folders of "
                        "frames, at any depth) or quoted patterns such as 'clips/**/*.mp4'")  # fmt: skip
    parser.add_argument("--window", type=float | None, default=None, help="seconds: one row a window of a long video")
    parser.add_argument("--step", type=float | None, default=None, help="seconds between windows; default: --window")
    parser.add_argument("--top-k", type=int, default=5, help="labels of every row, best first")
    parser.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    add_device(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    """Prints a row for every video; 1 where one of them could not be read."""
    _check(args)
    from kinema.recognizer import Recognizer

    where = device(args.device)
    recognizer = Recognizer.load(args.recognizer, where)
    videos = find_videos(args.videos)
    show = _json if args.json else _csv(min(args.top_k, len(recognizer.labels))) if args.csv else None
    rows: list[Row] = []
    out = sys.stdout  # a bar puts its own in place, which leads to stderr
    at_once = show is not None and out.isatty()  # rows and a bar on one terminal would mingle
    with nullcontext() if at_once else progress_bar("predicting videos") as progress:
        for done, row in _rows(recognizer, videos, args):
            rows.append(row)
            if show is not None:
                print(printable(show(row)), file=out, flush=True)
            if progress is not None:
                progress(done, len(videos))
    if show is None:
        _table(rows, args.window is not None)
    failed = [row for row in rows if row.error is not None]
    for row in failed:
        print(printable(f"unreadable: {row.path}: {row.error}"), file=sys.stderr)
    if failed:
        print(f"kinema: {len(failed)} of {len(videos)} videos could not be read", file=sys.stderr)
    return 1 if failed else 0


def find_videos(inputs: Sequence[str]) -> list[str]:
    """The videos that files, folders and patterns name, each once, in the order given.

    A file that is named itself is taken as it is, readable or not. A folder or pattern gives the videos found by it.

    Raises:
        KinemaError: a folder or pattern that gives no video.
    """
    found: dict[str, None] = {}
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            videos = _search(path, set())
            if not videos:
                raise KinemaError(f"{text}: no video in this folder; give a folder with videos or folders of frames")
        elif not path.exists() and any(c in text for c in _WILD):
            try:
                matches = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
            except ValueError as error:  # such as `**.mp4`
                raise KinemaError(f"{text}: not a pattern ({error}); write it like 'clips/**/*.mp4'") from error
            visible = [m for m in matches if all(p in path.parts or not is_clutter(p) for p in m.parts)]
            videos = [video for match in visible for video in _search(match, set())]
            if not videos:
                raise KinemaError(f"{text}: no video matches this pattern; check it, and quote it")
        else:
            videos = [locate(Path(), text)]
        found.update(dict.fromkeys(map(str, videos)))
    return list(found)


def _search(path: Path, seen: set[Path]) -> list[Path]:
    """A video; or of a folder the videos below it, and where there are none, the folder itself if it holds frames."""
    from kinema.data.video import is_video

    if not path.is_dir():
        return [path] if is_video(path) else []
    if path.resolve() in seen:  # a link to a folder above
        return []
    seen.add(path.resolve())
    children = sorted(p for p in path.iterdir() if not is_clutter(p.name))
    found = [video for child in children for video in _search(child, seen)]
    return found or ([path] if is_video(path) else [])


def _check(args: Namespace) -> None:
    if args.json and args.csv:
        raise KinemaError("--json and --csv exclude each other: give one of them")
    if args.top_k < 1:
        raise KinemaError(f"--top-k {args.top_k}: give at least 1")
    if args.window is None and args.step is not None:
        raise KinemaError(f"--step {args.step:g} needs --window: give the seconds of a window too")
    if args.window is not None and not 0 < (args.window if args.step is None else args.step) <= args.window:
        step = "" if args.step is None else f" --step {args.step:g}"
        raise KinemaError(f"--window {args.window:g}{step}: give seconds with 0 < step <= window")


def _rows(recognizer: Recognizer, videos: Sequence[str], args: Namespace) -> Iterator[tuple[int, Row]]:
    """(videos done, row)."""
    for done, path in enumerate(videos, 1):
        try:
            if args.window is None:
                predictions = [recognizer.predict(path, top_k=args.top_k)]
            else:
                predictions = recognizer.predict_windows(path, window=args.window, step=args.step, top_k=args.top_k)
        except UnreadableVideo as error:
            yield done, Row(path, None, error.reason)
            continue
        for prediction in predictions:
            yield done, Row(path, prediction)


def _json(row: Row) -> str:
    empty: dict[str, Any] = {"label": None, "score": None, "top_k": [], "t_start": None, "t_end": None}
    values = row.prediction.to_dict() if row.prediction is not None else empty
    return json.dumps({"path": row.path, **values, "error": row.error}, ensure_ascii=False)


def _csv(k: int) -> Callable[[Row], str]:
    ranked = [f"{name}_{i}" for i in range(2, k + 1) for name in ("label", "score")]
    print(_line(["path", "t_start", "t_end", "label", "score", *ranked, "error"]))

    def show(row: Row) -> str:
        p = row.prediction
        if p is None:
            return _line([row.path, *[""] * (4 + len(ranked)), row.error or ""])
        scores = [value for label, score in p.top_k for value in (label, f"{score:.6f}")]
        return _line([row.path, f"{p.t_start:.3f}", f"{p.t_end:.3f}", *scores, ""])

    return show


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def _table(rows: Sequence[Row], windows: bool) -> None:
    cells = []
    for row in rows:
        p = row.prediction
        if p is None:
            times, answer = ["–", "–"] if windows else ["–"], ["unreadable", "–", ""]
        else:
            times = [f"{p.t_start:.2f}", f"{p.t_end:.2f}"] if windows else [f"{p.t_end - p.t_start:.2f}"]
            others = ", ".join(f"{label} {score:.2f}" for label, score in p.top_k[1:_NEXT])
            answer = [p.label, f"{p.score:.2f}", others]
        cells.append([printable(cell) for cell in (row.path, *times, *answer)])
    columns = ["video", *(["from s", "to s"] if windows else ["seconds"]), "label", "score"]
    if any(row[-1] for row in cells):
        columns.append("then")
    print_table(columns, [row[: len(columns)] for row in cells])
