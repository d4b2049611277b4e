"""Cost of explanations: the time of each method over that of one forward pass.

    python benchmarks/explain.py [--models r3d_34 stm_r50 slowfast_50] [--rounds 15] [--threads 1] [--json]

Protocol: one clip of the size that the network is meant for, random weights, 400 classes, the last stage, one class,
float32. In each round the forward pass and every method run once; the first changes with every round, and two rounds
of warm-up come first. The script prints, per method, the median, with quartiles, of its time over that of the forward
pass. The exit status is 1 if a median is above the project's limit in a network of at least 10 GMACs.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from kinema.evaluation.cost import count, environment
from kinema.explain import class_feature_pyramid, grad_cam, saliency_tubes
from kinema.models import create_model

WARM_UP = 2
FIRST = "pyramid, first clip"  # every round has a new copy of the network, made before the time is taken
LARGE = 10e9  # multiply-accumulates above which the limits apply


def forward(model: nn.Module, clip: Tensor) -> None:
    with torch.inference_mode():
        model(clip)


# Method -> (function to time, limit in forward passes or None).
METHODS: dict[str, tuple[Callable[[nn.Module, Tensor], object], float | None]] = {
    "cam": (lambda model, clip: saliency_tubes(model, clip, 0, style="cam"), 1.3),
    "tube": (lambda model, clip: saliency_tubes(model, clip, 0), None),
    "gradcam": (lambda model, clip: grad_cam(model, clip, 0), None),
    # It contains one forward pass of the clip, and the steps back of depth 3 may take the same time again.
    "pyramid": (lambda model, clip: class_feature_pyramid(model, clip, 0), 2.0),
    # The connections of channels are traced at the first clip of a network and kept for later ones.
    FIRST: (lambda model, clip: class_feature_pyramid(model, clip, 0), 2.0),
}


def measure(name: str, rounds: int) -> list[dict[str, object]]:
    model = create_model(name).eval()
    spec = model.clip_spec
    clip = torch.randn(1, 3, spec.frames, spec.crop, spec.crop).contiguous(memory_format=torch.channels_last_3d)
    macs = count(name).macs
    ways = {"forward": forward, **{method: run for method, (run, _) in METHODS.items()}}
    times: dict[str, list[float]] = {key: [] for key in ways}
    for turn in range(WARM_UP + rounds):
        first = turn % len(ways)
        for key in [*list(ways)[first:], *list(ways)[:first]]:
            subject = copy.deepcopy(model) if key == FIRST else model
            begin = time.perf_counter()
            ways[key](subject, clip)
            times[key].append(time.perf_counter() - begin)
    counted = {key: values[WARM_UP:] for key, values in times.items()}
    rows: list[dict[str, object]] = []
    for method, (_, limit) in METHODS.items():
        ratios = [a / b for a, b in zip(counted[method], counted["forward"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rows.append(
            {
                "model": name, "frames": spec.frames, "size": spec.crop, "gmacs": macs / 1e9, "method": method,
                "forward_ms": 1e3 * statistics.median(counted["forward"]), "ratio": middle, "low": low, "high": high,
                "limit": limit if macs >= LARGE else None,
            }
        )  # fmt: skip
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["r3d_34", "r3d_50", "stm_r50", "slowfast_50", "x3d_m"],
                        help="names of networks")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=15, help="rounds; use at least 10 for reliable results")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rows = [row for name in arguments.models for row in measure(name, arguments.rounds)]
    over = [row for row in rows if row["limit"] is not None and row["ratio"] > row["limit"]]  # type: ignore[operator]
    if arguments.json:
        json.dump({"machine": environment(), "rounds": arguments.rounds, "rows": rows}, sys.stdout, indent=1)
        return bool(over)
    print("   ".join(f"{key} {value}" for key, value in environment().items()))
    print(f"one clip, median of {arguments.rounds} rounds, times over the forward pass\n")
    print(
        f"{'model':<14}{'clip':<10}{'GMACs':>7}{'forward ms':>12}   {'method':<20}{'ratio':>6}   quartiles       "
        "at most"
    )
    for r in rows:
        spread, size = f"{r['low']:.2f} to {r['high']:.2f}", f"{r['frames']}x{r['size']}²"
        print(
            f"{r['model']:<14}{size:<10}{r['gmacs']:>7.1f}{r['forward_ms']:>12.0f}   {r['method']:<20}"
            f"{r['ratio']:>6.2f}   {spread:<16}{r['limit'] or '–'}"
        )
    return bool(over)


if __name__ == "__main__":
    sys.exit(main())
