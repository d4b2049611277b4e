"""Tests whether `kinema stream` keeps up with a camera: minutes of 30 frames per second, 340x256, in real time.

    .venv/bin/python benchmarks/stream_minutes.py OUT [--minutes 10] [--rate 30] [--networks NAME ...]

A video is generated in OUT, and `kinema stream NETWORK VIDEO --realtime --mode step` runs on it in a separate process,
with a causal network with random weights at 224x224. Latency is the time from the arrival of a frame to its decision.
`--realtime` treats the file as a live source: a frame is dropped if it waits until 8 newer frames have arrived. If more
than 1 of 1000 frames is dropped after the first five seconds, the frame rate of the network is halved and the test
repeated for a minute, until the machine keeps up. Run no other programs at the same time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from kinema.evaluation.cost import environment
from kinema.files import replace_file
from kinema.models import create_model
from kinema.recognizer import Recognizer

RATE, WIDTH, HEIGHT, CLASSES = 30, 340, 256, 400
PART = 10  # seconds that are drawn and encoded; the video repeats them
START = 5.0  # seconds in which the network warms up
ALLOWED = 1e-3  # share of dropped frames that counts as keeping up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--networks", nargs="+", default=["tsm_efficientnet_lite0", "stm_r18"])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=float(RATE), help="frames per second that the network sees")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    seconds = max(PART, round(60 * args.minutes))
    film = args.out / f"film-{seconds}s.mp4"
    if not film.exists():
        replace_file(film, lambda part: write_film(part, seconds))
    print(json.dumps({"film": f"{seconds} s, {RATE} frames per second, {WIDTH}x{HEIGHT}", **environment()}), flush=True)
    print(
        f"{'':<24}{'rate':>6}{'s':>7}{'arrived':>9}{'used':>8}{'skipped':>9}{'dropped':>9}  (after {START:g} s)"
        f"{'unreadable':>12}{'latency p50':>13}{'p95':>8}{'max ms':>9}{'CPU s per s':>13}",
        flush=True,
    )
    for name in args.networks:
        folder = args.out / name
        if not folder.exists():
            model = create_model(name, num_classes=CLASSES, causal=True).eval()
            Recognizer(model, tuple(f"class {i}" for i in range(CLASSES)), model.clip_spec).save(folder)
        rate, length = args.rate, float(seconds)
        while not run(name, folder, film, rate, length) and rate > 1:
            rate, length = rate / 2, min(60.0, seconds)


def run(name: str, folder: Path, film: Path, rate: float, seconds: float) -> bool:
    """Streams the video, prints a line, and returns whether the network kept up."""
    words = [sys.executable, "-m", "kinema", "stream", str(folder), str(film), "--realtime", "--mode", "step", "--json"]
    words += ["--rate", f"{rate:g}", "--seconds", f"{seconds:g}"]
    before = os.times()
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    after = os.times()
    *decisions, last = map(json.loads, done.stdout.splitlines())
    assert last["arrived"] == last["used"] + last["skipped"] + last["dropped"]
    latencies = 1000 * np.array([decision["latency"] for decision in decisions])
    p50, p95, longest = np.quantile(latencies, [0.5, 0.95, 1.0])
    late = missed(decisions, rate)
    computing = after.children_user + after.children_system - before.children_user - before.children_system
    print(
        f"{name:<24}{rate:>6g}{last['seconds']:>7.0f}{last['arrived']:>9}{last['used']:>8}{last['skipped']:>9}"
        f"{last['dropped']:>9}  ({late:>6})     {last['unreadable']:>12}{p50:>13.1f}{p95:>8.1f}{longest:>9.1f}"
        f"{computing / last['seconds']:>13.2f}",
        flush=True,
    )
    return late <= ALLOWED * seconds * rate


def missed(decisions: list[dict[str, Any]], rate: float) -> int:
    """Returns the number of frames after the start that the network should have processed but did not."""
    times = np.array([decision["time"] for decision in decisions if decision["time"] >= START])
    return int(np.rint(np.diff(times) * rate - 1).clip(0).sum())


def write_film(path: Path, seconds: int) -> None:
    """Writes a drifting texture with a moving square: one part is encoded and repeated with shifted time stamps."""
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "23", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        packets = [packet for image in pictures() for packet in stream.encode(image)] + list(stream.encode())
        contents = [(bytes(packet), packet.pts, packet.is_keyframe) for packet in packets]
        step = contents[1][1] - contents[0][1]
        base = packets[0].time_base
        for i in range(seconds * RATE):
            content, _, is_key = contents[i % len(contents)]
            packet = av.Packet(content)
            packet.stream, packet.time_base, packet.is_keyframe = stream, base, is_key
            packet.pts = packet.dts = i * step
            packet.duration = step
            out.mux(packet)


def pictures() -> Iterator[av.VideoFrame]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (HEIGHT // 8 + 1, WIDTH // 2, 3), dtype=np.uint8)
    texture = coarse.repeat(8, 0).repeat(8, 1)[:HEIGHT]
    for i in range(PART * RATE):
        picture = texture[:, 4 * i : 4 * i + WIDTH].copy()
        top, left = 100 + round(80 * np.sin(i / 15)), 150 + round(120 * np.cos(i / 23))
        picture[top : top + 48, left : left + 48] = (250, 220, 60)
        yield av.VideoFrame.from_ndarray(np.ascontiguousarray(picture))


if __name__ == "__main__":
    main()
