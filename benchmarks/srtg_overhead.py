"""Cost of SRTG: latency of r3d and r(2+1)d with and without it, and the operations that it adds.

    python benchmarks/srtg_overhead.py [--models r3d_34 r3d_50 r2plus1d_50] [--size 112] [--rounds 15] [--json]

Protocol: 16 frames, random weights and clips, 400 classes. The plain network, SRTG ("final", two LSTM layers) without a
gate and SRTG with the hard gate run once per round; the first changes with every round, and two rounds of warm-up come
first. The script prints the median time and the median, with quartiles, of the time over that of the plain network in
the same round. "forward" is one clip in inference mode, "step" is forward and backward of two clips in training mode.
Operations are multiply-accumulates at 16 x 224 x 224, counted as in the paper: convolutions and matrix products, but
not the product with the states, the mean over space and the gate.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from kinema.evaluation.cost import count, environment
from kinema.models import create_model

PAPER = 0.15  # percent of the operations
WARM_UP = 2


def networks(name: str, device: str) -> dict[str, nn.Module]:
    made = {
        "plain": create_model(name),
        "srtg": create_model(f"srtg_{name}", gate="none"),
        "srtg, gate": create_model(f"srtg_{name}", gate="hard"),
    }
    return {key: model.to(device) for key, model in made.items()}


def forward(model: nn.Module, clips: torch.Tensor) -> None:
    with torch.inference_mode():
        model.eval()(clips[:1])


def step(model: nn.Module, clips: torch.Tensor) -> None:
    model.train()(clips).square().mean().backward()
    model.zero_grad()


def timed(run: Callable[[], None], device: str) -> float:
    begin = time.perf_counter()
    run()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def measure(name: str, size: int, rounds: int, device: str) -> dict[str, dict[str, dict[str, float]]]:
    models = networks(name, device)
    names = list(models)
    clips = torch.randn(2, 3, 16, size, size, device=device).contiguous(memory_format=torch.channels_last_3d)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for what, run in (("forward", forward), ("step", step)):
        times: dict[str, list[float]] = {key: [] for key in names}
        for turn in range(WARM_UP + rounds):
            for key in names[turn % len(names) :] + names[: turn % len(names)]:
                times[key].append(timed(lambda run=run, key=key: run(models[key], clips), device))
        counted = {key: values[WARM_UP:] for key, values in times.items()}
        found[what] = {}
        for key, values in counted.items():
            ratios = [a / b for a, b in zip(values, counted["plain"], strict=True)]
            low, _, high = statistics.quantiles(ratios, n=4)
            found[what][key] = {
                "ms": 1e3 * statistics.median(values),
                "ratio": statistics.median(ratios),
                "low": low,
                "high": high,
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["r3d_34", "r3d_50", "r2plus1d_50"], help="plain networks")
    parser.add_argument("--size", type=int, default=112, help="height and width of the clips")
    parser.add_argument("--rounds", type=int, default=15, help="rounds; use at least 10 for reliable results")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="PyTorch threads on the CPU")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    report = []
    for name in arguments.models:
        plain, with_srtg = count(name), count(f"srtg_{name}")
        report.append(
            {
                "model": name,
                "operations_percent": 100 * (with_srtg.macs / plain.macs - 1),
                "parameters_percent": 100 * (with_srtg.params / plain.params - 1),
                **measure(name, arguments.size, arguments.rounds, arguments.device),
            }
        )
    if arguments.json:
        json.dump({"machine": environment(), "rounds": arguments.rounds, "rows": report}, sys.stdout, indent=1)
        return
    print("   ".join(f"{key} {value}" for key, value in environment().items()))
    print(f"16 x {arguments.size} x {arguments.size}, {arguments.device}, median of {arguments.rounds} rounds\n")
    head = f"{'model':<14}{'operations':>11}{'paper':>8}{'parameters':>12}   "
    print(head + f"{'what':<9}{'network':<12}{'ms':>8}{'with / plain':>14}   quartiles")
    for row in report:
        first = (
            f"{row['model']:<14}{row['operations_percent']:>+10.2f}%{PAPER:>7}%{row['parameters_percent']:>+11.1f}%   "
        )
        for what in ("forward", "step"):
            for key, values in row[what].items():
                quartiles = "" if key == "plain" else f"   {values['low']:.2f} to {values['high']:.2f}"
                print(f"{first:<48}{what:<9}{key:<12}{values['ms']:>8.0f}{values['ratio']:>14.3f}{quartiles}")
                first = ""


if __name__ == "__main__":
    main()
