"""What `Recognizer.optimize` buys: eager float32 against what it chooses, side by side, on this machine.

    .venv/bin/python benchmarks/optimize.py [NETWORK ...] [--budget 300] [--threads N] [--int8] [--rounds 9]

Fresh weights; one pass over the check clips gives BatchNorm their statistics, so that activations have the sizes of a
trained network. One clip of the network's own size per pass. The table says what was tried; the last line of one is
measured again, in turns, median [quartiles]. Nothing is read from or written to the cache. Required on a CPU with
bfloat16 units: `stm_r50` 2.5, `r3d_50`, `slowfast_50`, `cidc_i3d_50` 1.8, `mtnet_m`, `x3d_m` 1.4; without them 1.3.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from kinema.backends.clips import generated_clips
from kinema.backends.report import COLUMNS
from kinema.cli.output import print_table
from kinema.data.transforms import to_input
from kinema.evaluation.cost import environment
from kinema.models import create_model
from kinema.recognizer import Recognizer

NETWORKS = {"stm_r50": 2.5, "r3d_50": 1.8, "slowfast_50": 1.8, "cidc_i3d_50": 1.8, "mtnet_m": 1.4, "x3d_m": 1.4}
CLASSES = 400
UNITS = r"\b(?:avx2|avx512f|avx512_bf16|avx512_vnni|amx_bf16|amx_int8|asimd|bf16)\b"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--budget", type=float, default=300.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--int8", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(json.dumps({**environment(), "units": units(), "budget": args.budget, "rounds": args.rounds}), flush=True)
    for name in args.networks:
        measure(name, args)


def units() -> list[str]:
    """The vector and matrix units of the processor that matter here."""
    found = Path("/proc/cpuinfo")
    return sorted(set(re.findall(UNITS, found.read_text("utf-8")))) if found.is_file() else []


def measure(name: str, args: argparse.Namespace) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=CLASSES)
    settle(model, to_input(generated_clips(model.clip_spec), model.clip_spec))
    recognizer = Recognizer(model, tuple(map(str, range(CLASSES))), model.clip_spec)
    report = recognizer.optimize(budget=args.budget, int8=args.int8, store=False).report
    print(f"\n{name}: {report.sentence()}")
    print_table(COLUMNS, report.rows())
    clip = generated_clips(model.clip_spec, 1)
    plain = Recognizer(model, recognizer.labels, recognizer.spec)
    ratios = []
    for _ in range(args.rounds):
        began = time.perf_counter()
        plain.scores(clip)
        middle = time.perf_counter()
        recognizer.scores(clip)
        ratios.append((middle - began) / (time.perf_counter() - middle))
    low, mid, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    goal = f", required {NETWORKS[name]:g}" if name in NETWORKS else ""
    print(f"{name}: {report.chosen} {mid:.2f} [{low:.2f}, {high:.2f}] times as fast as eager{goal}", flush=True)


def settle(model: torch.nn.Module, clips: torch.Tensor) -> None:
    """Gives every BatchNorm the statistics of its inputs."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        model(clips)
    model.eval()


if __name__ == "__main__":
    main()
