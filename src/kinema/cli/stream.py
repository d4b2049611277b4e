"""`kinema stream RECOGNIZER SOURCE`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_device, add_json, add_recognizer, device
from kinema.cli.optimized import add_optimize, check_optimize, optimized_windows
from kinema.errors import KinemaError
from kinema.text import printable

if TYPE_CHECKING:
    from kinema.recognizer import Recognizer
    from kinema.streaming.live import Decision
    from kinema.streaming.reader import Tally
    from kinema.streaming.segments import Segment, Segmenter


def add_arguments(parser: ArgumentParser) -> None:
    """Adds RECOGNIZER, SOURCE and the options of decisions."""
    add_recognizer(parser)
    parser.add_argument("source", type=str, help="a camera (0, /dev/video0), an address (rtsp://…, http://…), a video "
                        "file, a folder that receives video files, or - for standard input")  # fmt: skip
    parser.add_argument("--rate", type=float | None, default=None, help="frames per second to classify; "
                        "default: the frame spacing used in training, if the recognizer states it")  # fmt: skip
    parser.add_argument("--mode", type=str, default="auto", help="step: one frame at a time, for networks that can "
                        "stream; delayed: the same for networks that look ahead; window: sliding windows; auto: step "
                        "if the network can stream, else window")  # fmt: skip
    parser.add_argument(
        "--average", type=str, default="mean", help="average of the frame scores: mean, last:N, ema:D or none"
    )
    parser.add_argument("--top-k", type=int, default=5, help="number of labels per decision, best first")
    parser.add_argument("--segments", action="store_true", help="print one line per completed action, with start and "
                        "end, instead of one per decision; the thresholds come from the card")  # fmt: skip
    parser.add_argument("--realtime", action="store_true", help="read a file at its playback speed, like a camera")
    parser.add_argument("--seconds", type=float | None, default=None, help="stop after this many seconds of the source")
    parser.add_argument("--give-up", type=float, default=60.0, help="seconds without a frame after which a stream "
                        "from an address ends with an error")  # fmt: skip
    parser.add_argument("--idle", type=float | None, default=None, help="seconds without a new file after which a "
                        "folder is considered complete; default: never")  # fmt: skip
    parser.add_argument("--queue", type=int, default=8, help="frames that may wait for the network; older frames "
                        "are dropped if the source cannot wait")  # fmt: skip
    add_optimize(parser)
    add_device(parser)
    add_json(parser)


def run(args: Namespace) -> None:
    """Prints a line per decision, and at the end a count of what happened to the frames."""
    if args.queue < 1 or args.top_k < 1:
        raise KinemaError(f"--queue {args.queue}, --top-k {args.top_k}: give at least 1")
    check_optimize(args)
    from kinema.recognizer import Recognizer
    from kinema.streaming.live import Live, recognise
    from kinema.streaming.reader import SourceReader
    from kinema.streaming.sources import Lost, open_source
    from kinema.streaming.timelines import feed_decision

    source = open_source(args.source, realtime=args.realtime, give_up=args.give_up, idle=args.idle)
    recognizer = Recognizer.load(args.recognizer, device(args.device))
    rate = _rate(args, recognizer)
    segmenter = _segmenter(args, recognizer) if args.segments else None
    average, top_k = ("none", len(recognizer.labels)) if args.segments else (args.average, args.top_k)
    live = Live(recognizer, rate=rate, mode=args.mode, average=average, top_k=top_k)
    optimized_windows(args, recognizer, live.mode)
    if not args.json:
        print(
            f"{rate:.3g} frames per second, mode {live.mode}, average {average}; press Ctrl-C to stop", file=sys.stderr
        )
    began, latencies = monotonic(), []
    reader = SourceReader(source, args.queue)
    try:
        with reader:
            for found in recognise(reader, live, seconds=args.seconds):
                if isinstance(found, Lost):
                    print(printable(f"kinema: {args.source}: {found.reason}"), file=sys.stderr, flush=True)
                    continue
                latencies.append(found.latency)
                if segmenter is None:
                    _print(found.to_dict() if args.json else _line(found))
                else:
                    _print_segments(feed_decision(segmenter, found, live.interval), args)
    except KeyboardInterrupt:
        pass  # the user stopped the stream: the summary follows
    finally:
        if segmenter is not None:
            _print_segments(segmenter.end(), args)
        _sum_up(reader.tally, monotonic() - began, latencies, args.json)


def _rate(args: Namespace, recognizer: Recognizer) -> float:
    rate = args.rate if args.rate is not None else recognizer.rate
    if rate is None:
        raise KinemaError(
            f"{args.recognizer}: does not state the frame spacing used in training: give --rate in frames per second"
        )
    return float(rate)


def _segmenter(args: Namespace, recognizer: Recognizer) -> Segmenter:
    """Returns the settings in the card, else the defaults."""
    from kinema.streaming.segments import Segmenter
    from kinema.streaming.timelines import SegmentSettings, stored_settings

    if args.average != "mean":
        raise KinemaError(
            f"--average {args.average}: --segments smooths scores as the card specifies; remove one of the two"
        )
    try:
        settings = stored_settings(recognizer)
    except KinemaError as error:
        raise KinemaError(f"{args.recognizer}: {error}") from error
    if settings is None:
        note = "the thresholds are defaults, not calibrated for this recognizer; see kinema timeline --calibrate"
        print(f"kinema: note: {note}", file=sys.stderr)
        settings = SegmentSettings()
    return Segmenter(recognizer.labels, settings.rule, settings.background)


def _print(line: str | dict[str, Any]) -> None:
    text = line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)
    print(printable(text), flush=True)


def _print_segments(segments: Sequence[Segment], args: Namespace) -> None:
    for s in segments:
        _print(s.to_dict() if args.json else f"{s.t_start:9.2f} to {s.t_end:9.2f} s  {s.label}  {s.score:.2f}")


def _line(decision: Decision) -> str:
    others = ", ".join(f"{label} {score:.2f}" for label, score in decision.top_k[1:3])
    return f"{decision.time:9.2f} s  {decision.label}  {decision.score:.2f}" + (f"  ({others})" if others else "")


def _sum_up(tally: Tally, seconds: float, latencies: list[float], as_json: bool) -> None:
    p95 = float(np.quantile(latencies, 0.95)) if latencies else None
    values = {
        "arrived": tally.arrived, "used": tally.used, "skipped": tally.skipped, "dropped": tally.dropped,
        "unreadable": tally.unreadable, "seconds": round(seconds, 3), "latency_p95": p95,
    }  # fmt: skip
    if as_json:
        print(json.dumps(values), flush=True)
    else:
        text = ", ".join(f"{key} {value:g}" for key, value in values.items() if value is not None)
        print(text, file=sys.stderr, flush=True)
