"""Trains methods with their defaults, and their backbones, on other kinds of motion, generated in memory.

    .venv/bin/python benchmarks/moving_shapes.py [NETWORK ...] [--task shapes] [--seeds 3] [--residual-init X]

The tasks and the training are those of `tests/training/`: 300 steps of 16 clips of 16 x 40 x 40, all different, width
0.125, learning rate 0.05 with cosine decay, one thread. The accuracy is measured on 256 other clips of 8 classes.
`shapes` is a moving soft shape, `gratings` a drifting grating. `--residual-init` replaces the networks' default for the
start of the blocks. For networks with gates the script also prints the mean open rate of each stage in the last batch
of the test, and how much the logits change if all weights of the recurrent cells are set to zero.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from training.moving_shapes import drifting_gratings, moving_shapes
from training.test_methods_learn import accuracy, learned, logits, without_recurrence

from kinema.evaluation.cost import environment
from kinema.ops.recurrence import gated_stages, stage_open_rates

TASKS = {"shapes": moving_shapes, "gratings": drifting_gratings}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=["r3d_34", "srtg_r3d_34", "r3d_50", "mtconv_r50"])
    parser.add_argument("--task", choices=TASKS, default="shapes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--residual-init", type=float)
    args = parser.parse_args()
    torch.set_num_threads(1)
    options = {} if args.residual_init is None else {"residual_init": args.residual_init}
    print(json.dumps({**environment(), "task": args.task, "seeds": args.seeds, **options}), flush=True)
    task = TASKS[args.task]
    unseen = task(256, seed=10**6)
    for name in args.networks:
        found = []
        for seed in range(args.seeds):
            began = time.perf_counter()
            model = learned(name, seed, task, **options)
            found.append(accuracy(model, unseen))
            line = f"{name:<14} seed {seed}: {found[-1]:.1%}, {time.perf_counter() - began:.0f} s"
            if gated_stages(model):
                before = logits(model, unseen)
                rates = ", ".join(f"{stage} {float(rate):.0%}" for stage, rate in stage_open_rates(model).items())
                change = (logits(without_recurrence(model), unseen) - before).norm() / before.norm()
                line += f"; gates open {rates}; without recurrence the logits change by {float(change):.1%}"
            print(line, flush=True)
        print(f"{name:<14} mean {sum(found) / len(found):.1%}", flush=True)


if __name__ == "__main__":
    main()
