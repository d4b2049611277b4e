"""Cost of CIDC on a CPU: time added to its backbone, and its temporal convolution computed in several ways.

    .venv/bin/python benchmarks/cidc.py [--rounds 15] [--size 256] [--threads 1]

Protocol: float32, channels-last, random weights, one clip, inference mode. All variants run once per round; a figure is
the median, with quartiles, of the ratio within a round. Networks: the backbone alone, with CIDC (one unit on each of
three stages), and with the heads of table 5, at 8 steps. Operator: from 8 steps to 8 steps at the sizes of the last
three stages of a ResNet-50, for one clip and four; `convolution` and `einsum` are those of `kinema.ops.cidc`, `grouped`
is the paper's single convolution in which each channel with its steps is a group.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kinema.evaluation.cost import count, environment
from kinema.models import create_model
from kinema.ops.cidc import by_convolution, by_einsum

STEPS = 8
NETWORKS = {"r2d_50": 8, "i3d_50": 32}  # frames that give 8 steps
STAGES = ((512, 8), (1024, 16), (2048, 32))  # channels, factor by which the clip is wider


def grouped(x: Tensor, kernels: Tensor) -> Tensor:
    n, c, t, h, w = x.shape
    y = F.conv2d(x.reshape(n, c * t, h, w), kernels.reshape(-1, t, 1, 1), groups=c).view(n, c, -1, h, w)
    return y.contiguous(memory_format=torch.channels_last_3d)  # the layout of the next layer


def einsum(x: Tensor, kernels: Tensor) -> Tensor:
    return by_einsum(x, kernels).contiguous(memory_format=torch.channels_last_3d)


WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "convolution": by_convolution, "einsum": einsum, "grouped": grouped,
}  # fmt: skip


def in_turn(things: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Returns the seconds of each variant in each round."""
    seconds = {name: np.empty(rounds) for name in things}
    for i in range(-1, rounds):  # the first round only warms up
        for name, run in list(things.items())[:: 1 if i % 2 else -1]:
            began = time.perf_counter()
            run()
            seconds[name][i] = time.perf_counter() - began
    return seconds


def quartiles(ratio: np.ndarray) -> str:
    low, middle, high = np.quantile(ratio, [0.25, 0.5, 0.75])
    return f"{middle:7.3f} [{low:.3f}, {high:.3f}]"


def networks(args: argparse.Namespace) -> None:
    print(f"{'network':<26}{'M params':>9}{'G MACs':>8}{'median ms':>11}   time over the backbone's")
    for backbone, frames in NETWORKS.items():
        clip = torch.randn(1, 3, frames, args.size, args.size).contiguous(memory_format=torch.channels_last_3d)
        on = {"backbone": backbone}
        made = {backbone: (backbone, {}), "cidc": ("cidc", on), "lstm_head": ("lstm_head", on),
                "attention_head": ("attention_head", on)}  # fmt: skip
        models = {key: create_model(name, frames=frames, **options).eval() for key, (name, options) in made.items()}
        seconds = in_turn({key: partial(model, clip) for key, model in models.items()}, args.rounds)
        for key, (name, options) in made.items():
            cost = count(name, frames=frames, size=args.size, options=options)
            title = key if key == backbone else f"{backbone} + {key}"
            print(
                f"{title:<26}{cost.params / 1e6:>9.2f}{cost.macs / 1e9:>8.2f}{1e3 * np.median(seconds[key]):>11.1f}"
                f"   {quartiles(seconds[key] / seconds[backbone])}",
                flush=True,
            )


def operator(args: argparse.Namespace) -> None:
    print(f"\n{'N C T H W':<24}{'convolution, ms':>16}   einsum / convolution      grouped / convolution")
    for n in (1, 4):
        for channels, shrink in STAGES:
            side = args.size // shrink
            x = torch.randn(n, channels, STEPS, side, side).contiguous(memory_format=torch.channels_last_3d)
            kernels = torch.randn(channels, STEPS, STEPS)
            seconds = in_turn({name: partial(way, x, kernels) for name, way in WAYS.items()}, args.rounds)
            ours = seconds["convolution"]
            print(
                f"{n!s:<3}{channels:<6}{STEPS:<3}{side}x{side:<8}{1e3 * np.median(ours):>19.2f}"
                f"   {quartiles(seconds['einsum'] / ours):<25} {quartiles(seconds['grouped'] / ours)}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(json.dumps({"rounds": args.rounds, "size": args.size, **environment()}))
    with torch.inference_mode():
        networks(args)
        operator(args)


if __name__ == "__main__":
    main()
