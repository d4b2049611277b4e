"""Speed-up by `Recognizer.optimize` on this machine: eager float32 against the chosen backend.

    .venv/bin/python benchmarks/optimize.py [NETWORK ...] [--budget 300] [--threads N] [--steps 20] [--int8]

Random weights are first trained for a few steps, at half of the network's size, to distinguish the generated check
clips; otherwise the two highest of 400 logits are nearly equal. Each pass takes one clip of the network's own size. The
table lists the backends that were tried. The chosen backend and eager are then measured again, interleaved with square
matrix products in float32 and bfloat16, median [quartiles]. "share" is the rate of the network's multiply-accumulates
over that of the matrix product in the same precision. "bound" is the speed-up over eager of a network that reaches the
full rate of the bfloat16 product. The cache is not used. Required speed-up on a CPU with bfloat16 units: 2.5 for
`stm_r50`, 1.8 for `r3d_50`, `slowfast_50` and `cidc_i3d_50`, 1.4 for `mtnet_m` and `x3d_m`; without such units 1.3.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from kinema.backends.clips import generated_clips
from kinema.backends.report import COLUMNS
from kinema.cli.output import print_table
from kinema.data.transforms import to_input
from kinema.evaluation.cost import count, environment
from kinema.memory import keep_freed_memory
from kinema.models import VideoModel, create_model
from kinema.recognizer import Recognizer

NETWORKS = {"stm_r50": 2.5, "r3d_50": 1.8, "slowfast_50": 1.8, "cidc_i3d_50": 1.8, "mtnet_m": 1.4, "x3d_m": 1.4}
CLASSES = 400
PRODUCT = 1024  # rows and columns of the matrices
UNITS = r"\b(?:avx2|avx512f|avx512_bf16|avx512_vnni|amx_bf16|amx_int8|asimd|bf16)\b"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--budget", type=float, default=300.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=20, help="training steps")
    parser.add_argument("--int8", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as the commands do
    print(json.dumps({**environment(), "units": units(), "budget": args.budget, "rounds": args.rounds}), flush=True)
    for name in args.networks:
        measure(name, args)


def units() -> list[str]:
    """Returns the relevant vector and matrix units of the processor."""
    found = Path("/proc/cpuinfo")
    return sorted(set(re.findall(UNITS, found.read_text("utf-8")))) if found.is_file() else []


def measure(name: str, args: argparse.Namespace) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=CLASSES)
    learn(model, to_input(generated_clips(model.clip_spec), model.clip_spec), args.steps)
    recognizer = Recognizer(model, tuple(map(str, range(CLASSES))), model.clip_spec)
    report = recognizer.optimize(budget=args.budget, int8=args.int8, store=False).report
    print(f"\n{name}: {report.sentence()}")
    print_table(COLUMNS, report.rows())
    clip = generated_clips(model.clip_spec, 1)
    plain = Recognizer(model, recognizer.labels, recognizer.spec)
    wide = torch.randn(PRODUCT, PRODUCT)
    narrow = wide.bfloat16()
    parts = (lambda: plain.scores(clip), lambda: recognizer.scores(clip), lambda: wide @ wide, lambda: narrow @ narrow)
    rounds = np.array([[seconds(part) for part in parts] for _ in range(args.rounds)])
    low, mid, high = np.quantile(rounds[:, 0] / rounds[:, 1], [0.25, 0.5, 0.75])
    goal = f", required {NETWORKS[name]:g}" if name in NETWORKS else ""
    print(f"{name}: {report.chosen} {mid:.2f} [{low:.2f}, {high:.2f}] times as fast as eager{goal}")
    eager, fast, single, half = np.median(rounds, 0)
    rate = count(name, num_classes=CLASSES).macs / PRODUCT**3  # in matrix products
    shares = [f"eager {rate * single / eager:.0%} of {PRODUCT**3 / single / 1e9:.0f} GMAC/s in float32"]
    if "bfloat16" in report.chosen:
        shares.append(f"{report.chosen} {rate * half / fast:.0%} of {PRODUCT**3 / half / 1e9:.0f} GMAC/s in bfloat16")
    print(f"  share: {', '.join(shares)}; bound in bfloat16: {eager / (rate * half):.2f}", flush=True)


def seconds(call: Callable[[], object]) -> float:
    """Returns the seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def learn(model: VideoModel, clips: Tensor, steps: int) -> None:
    """Trains on clip i with label i at half of the size, then sets the BatchNorm statistics at the full size."""
    half = F.avg_pool3d(clips, (1, 2, 2)).contiguous(memory_format=torch.channels_last_3d)
    labels = torch.arange(len(clips))
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for _ in range(steps):
        adam.zero_grad()
        F.cross_entropy(model(half), labels).backward()
        adam.step()
    for norm in model.eval().modules():
        if isinstance(norm, _BatchNorm):
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
    with torch.no_grad():
        model(clips)
        best = model.eval()(clips).topk(2).values
    print(f"  margins of the top-1 logits: {', '.join(f'{a - b:.2f}' for a, b in best.tolist())}", flush=True)


if __name__ == "__main__":
    main()
