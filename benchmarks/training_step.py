"""Profiles one training step per network with PyTorch's profiler, by kind of operation.

    .venv/bin/python benchmarks/training_step.py [NETWORK ...] [--clips 2] [--threads 1] [--operations 8]

A step is forward, loss and backward of one batch with random weights and random clips of the network's own size, in
float32. The script prints the share of each kind (convolutions and products, BatchNorm, element-wise, copies, the
rest), the slowest operations, and the multiply-accumulates per second; a step counts as three forward passes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter

import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from kinema.evaluation.cost import count, environment
from kinema.models import create_model

NETWORKS = ["stm_r50", "srtg_r3d_34", "mtnet_m", "cidc_i3d_50", "tsm_efficientnet_lite0"]
KINDS = {
    "convolutions and products": ("conv", "mkldnn", "addmm", "::mm", "::bmm", "linear"),
    "BatchNorm": ("batch_norm",),
    "copies and layout": ("copy_", "clone", "contiguous", "::cat", "::flip", "fill_", "zero", "index"),
    "element-wise": ("::add", "::mul", "::sub", "::div", "threshold", "clamp", "sigmoid", "tanh", "silu", "relu"),
    "sums and pooling": ("::sum", "::mean", "pool"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--clips", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--operations", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(json.dumps({**environment(), "clips": args.clips}), flush=True)
    for name in args.networks:
        measure(name, args)


def measure(name: str, args: argparse.Namespace) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=174).train()
    spec = model.clip_spec
    clips = torch.randn(args.clips, 3, spec.frames, spec.crop, spec.crop)
    clips = clips.contiguous(memory_format=torch.channels_last_3d)
    labels = torch.arange(args.clips)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(clips), labels).backward()

    step()  # warm-up
    began = time.perf_counter()
    step()
    seconds = time.perf_counter() - began
    with profile(activities=[ProfilerActivity.CPU]) as found:
        step()
    events = [(event.key, event.self_cpu_time_total) for event in found.key_averages()]
    total = sum(spent for _, spent in events)
    shares: Counter[str] = Counter()
    for key, spent in events:
        shares[kind(key)] += spent
    macs = count(name, num_classes=174).macs * args.clips * 3
    shape = f"{args.clips} x {spec.frames} x {spec.crop}"
    print(f"\n{name}: {seconds:.2f} s per step of {shape}, {macs / seconds / 1e9:.0f} GMAC/s")
    print("  " + ", ".join(f"{name} {spent / total:.0%}" for name, spent in shares.most_common()))
    for key, spent in sorted(events, key=lambda event: -event[1])[: args.operations]:
        print(f"  {spent / total:6.1%}  {key}", flush=True)


def kind(key: str) -> str:
    return next((name for name, parts in KINDS.items() if any(part in key for part in parts)), "the rest")


if __name__ == "__main__":
    main()
