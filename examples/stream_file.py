"""Recognise a video while it is read, as from a camera.

    python examples/stream_file.py RECOGNIZER SOURCE

SOURCE is a video file, a camera (0) or an address (rtsp://...). A network that was trained with `causal=True` sees each
frame once; every other network classifies sliding windows.
"""

from __future__ import annotations

import argparse

from kinema import Recognizer
from kinema.streaming import Decision, Live, open_source, recognise
from kinema.streaming.reader import SourceReader

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recognizer")
    parser.add_argument("source")
    parser.add_argument("--rate", type=float, help="frames per second; default: as in training")
    args = parser.parse_args()

    recognizer = Recognizer.load(args.recognizer)
    rate = args.rate or recognizer.rate
    if rate is None:
        raise SystemExit(f"{args.recognizer} does not state the frame rate of its training: give --rate")
    live = Live(recognizer, rate=rate, average="last:4")
    with SourceReader(open_source(args.source)) as reader:
        for event in recognise(reader, live):
            if isinstance(event, Decision):
                print(f"{event.time:7.2f} s  {event.label}  {event.score:.2f}")
            else:  # a damaged frame or a broken connection
                print("lost:", event.reason)
    print(reader.tally)
