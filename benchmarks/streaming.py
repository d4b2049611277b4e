"""What a frame of a stream costs: `step` of a causal network against its window of 8 frames, side by side.

    .venv/bin/python benchmarks/streaming.py [NETWORK ...] [--rounds 15]

One stream, 224x224, float32, as many threads as the machine has cores. In every round a window of 8 frames is
classified, as sliding windows do for each frame, and 8 single frames are stepped; the ratio is one frame over the
window, median [quartiles]. Required of `stm_r50`: at most 1/6.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

from kinema.evaluation.cost import environment
from kinema.models import create_model

FRAMES, SIZE = 8, 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=["stm_r50", "stm_r18", "tsm_r50", "tsm_efficientnet_lite0"])
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    print(json.dumps({**environment(), "frames": FRAMES, "size": SIZE, "rounds": args.rounds}), flush=True)
    for name in args.networks:
        model = create_model(name, frames=FRAMES, causal=True).eval()
        clip = torch.randn(1, 3, FRAMES, SIZE, SIZE).contiguous(memory_format=torch.channels_last_3d)
        windows, frames = [], []
        with torch.inference_mode():
            state = model.initial_state(1, size=SIZE)
            for i in range(args.rounds + 2):
                began = time.perf_counter()
                model(clip)
                middle = time.perf_counter()
                for frame in clip.split(1, 2):
                    _, state = model.step(frame, state)
                if i >= 2:  # warm
                    windows.append(middle - began)
                    frames.append((time.perf_counter() - middle) / FRAMES)
        ratios = np.quantile(np.divide(frames, windows), [0.5, 0.25, 0.75])
        kept = sum(value.numel() * value.element_size() for value in state.values()) / 2**20
        print(
            f"{name:<24} window {1000 * np.median(windows):7.1f} ms, frame {1000 * np.median(frames):6.1f} ms, ratio "
            f"{ratios[0]:.3f} [{ratios[1]:.3f}, {ratios[2]:.3f}], state {kept:.1f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
