"""`kinema label` against a plain loop over `Recognizer.predict`, and against itself on a local Ray cluster.

    python benchmarks/label.py [--clips 120] [--model tsm_r18] [--width 1.0] [--size 112] [--source 320] [--rounds 3]
                               [--cluster]

Protocol: generated H.264 clips of 64 frames, `--source` pixels wide and high; the network has random weights. First the
script prints the seconds per clip for reading alone and for the network alone, each with one thread in this process.
Then every round runs the loop, `label` and, with --cluster, `label` on Ray, each into a new table; the first one
changes with every round. The rates exclude starting and loading (for Ray, the rate is that of the last three quarters
of the clips). The labels of all variants are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from kinema import ClipSpec, Recognizer, create_model
from kinema.data.views import read_views
from kinema.evaluation.cost import environment
from kinema.labelling import label, read_labels

FRAMES = 64


def write_clip(path: Path, seed: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    still = rng.integers(0, 255, (side, side * 2, 3), dtype=np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "28"})
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for t in range(FRAMES):
            at = (t * 3) % side
            picture = np.ascontiguousarray(still[:, at : at + side] // 2 + 60)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        out.mux(stream.encode())


def mix(rec: Recognizer, paths: list[Path]) -> tuple[float, float]:
    """Returns the seconds per clip of reading and of the network, with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    began = time.perf_counter()
    pixels = [read_views(path, rec.spec).pixels for path in paths]
    read = time.perf_counter()
    rec.scores(torch.cat(pixels))
    ended = time.perf_counter()
    torch.set_num_threads(threads)
    return (read - began) / len(paths), (ended - read) / len(paths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=120, help="how many")
    parser.add_argument("--model", default="tsm_r18", help="network")
    parser.add_argument("--width", type=float, default=1.0, help="multiplier of its channels")
    parser.add_argument("--size", type=int, default=112, help="height and width of its input")
    parser.add_argument("--source", type=int, default=320, help="height and width of the clips")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions")
    parser.add_argument("--workers", type=int, default=1, help="reader processes")
    parser.add_argument("--cluster", action="store_true", help="also on a local Ray cluster")
    args = parser.parse_args()
    torch.manual_seed(0)
    model = create_model(args.model, num_classes=50, frames=8, width=args.width).eval()
    rec = Recognizer(
        model, tuple(f"action {i}" for i in range(50)), ClipSpec(frames=8, short_side=args.size, crop=args.size)
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "clips"
        folder.mkdir()
        paths = [folder / f"{i:05}.mp4" for i in range(args.clips)]
        for i, path in enumerate(paths):
            write_clip(path, i, args.source)
        reading, network = mix(rec, paths[:16])
        print(json.dumps(environment()))
        print(f"mix: reading {1e3 * reading:.0f} ms, network {1e3 * network:.0f} ms per clip, one thread each")
        answers: dict[str, list[Any]] = {}

        def loop() -> float:
            began = time.perf_counter()
            answers["loop"] = [rec.predict(path).label for path in paths]
            return len(paths) / (time.perf_counter() - began)

        def labelled(name: str, **options: Any) -> float:
            times: list[float] = []
            with tempfile.TemporaryDirectory() as out:
                done = label(
                    rec, folder, Path(out) / "table", workers=args.workers,
                    report=lambda _: times.append(time.perf_counter()), **options,
                )  # fmt: skip
                answers[name] = read_labels(done.output)["label"].to_pylist()
            if "cluster" not in options:
                return done.inputs / done.seconds
            quarter = len(times) // 4
            return (len(times) - quarter) / (times[-1] - times[quarter - 1])

        ways: dict[str, Callable[[], float]] = {"loop": loop, "label": lambda: labelled("label")}
        if args.cluster:
            ways["label on Ray"] = lambda: labelled("label on Ray", cluster="local", networks=1)
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(args.rounds):
            names = list(ways)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                rates[name].append(ways[name]())
    for name, found in rates.items():
        same = "equal" if answers[name] == answers["loop"] else "DIFFER"
        ratios = [rate / other for rate, other in zip(found, rates["loop"], strict=True)]
        print(
            f"{name:<14}{statistics.median(found):7.1f} clips per second, {statistics.median(ratios):.2f} x the loop "
            f"({min(ratios):.2f} to {max(ratios):.2f}), labels {same}"
        )


if __name__ == "__main__":
    main()
