"""Cost of a frame of a stream: `step` of a causal network against its window of 8 frames, in one interleaved run.

    .venv/bin/python benchmarks/streaming.py [NETWORK ...] [--rounds 15] [--threads N]

One stream, 224x224, float32. In every round, the network and a copy with packed kernels (as made by `--optimize`) each
classify a window of 8 frames, as sliding windows do for each frame, and step through 8 single frames. `kinema stream`
uses the copy. Ratios are the time of one frame over that of a window in the same round, median [quartiles]. Required of
`stm_r50`: at most 1/6, also for the copy over its own window.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch

from kinema.backends.packing import Packed, for_steps
from kinema.evaluation.cost import environment
from kinema.models import create_model

FRAMES, SIZE = 8, 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=["stm_r50", "stm_r18", "tsm_r50", "tsm_efficientnet_lite0"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(json.dumps({**environment(), "frames": FRAMES, "size": SIZE, "rounds": args.rounds}), flush=True)
    print("| network | window, ms | frame, ms | frame, packed | over window | packed over packed window | state |")
    print("|---|---|---|---|---|---|---|")
    for name in args.networks:
        model = create_model(name, frames=FRAMES, causal=True).eval()
        clip = torch.randn(1, 3, FRAMES, SIZE, SIZE).contiguous(memory_format=torch.channels_last_3d)
        copy = for_steps(model, SIZE)
        assert copy is not model, "the copy was not right, or oneDNN is missing"
        packed = Packed().build(model, clip)
        seconds = np.empty((args.rounds + 2, 4))
        with torch.inference_mode():
            states = [one.initial_state(1, size=SIZE) for one in (model, copy)]
            for row in seconds:
                row[0], row[1] = timed(lambda: model(clip)), timed(lambda: packed(clip))  # noqa: B023
                for j, one in enumerate((model, copy)):
                    began = time.perf_counter()
                    for frame in clip.split(1, 2):
                        _, states[j] = one.step(frame, states[j])
                    row[2 + j] = (time.perf_counter() - began) / FRAMES
        seconds = seconds[2:]  # without the warm-up
        kept = sum(value.numel() * value.element_size() for value in states[0].values()) / 2**20
        window, _, frame, quick = 1000 * np.median(seconds, 0)
        print(
            f"| {name} | {window:.0f} | {frame:.1f} | {quick:.1f} | {ratio(seconds[:, 3], seconds[:, 0])} | "
            f"{ratio(seconds[:, 3], seconds[:, 1])} | {kept:.1f} MiB |",
            flush=True,
        )


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def ratio(a: np.ndarray, b: np.ndarray) -> str:
    low, mid, high = np.quantile(a / b, [0.25, 0.5, 0.75])
    return f"{mid:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
