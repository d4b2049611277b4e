"""Prints the standard deviation of SRTG's features after each stage before training, for each type of fusion.

    .venv/bin/python benchmarks/srtg_start.py

srtg_r3d_34 at width 0.125 with random weights, in training mode, on four random clips of 16 x 56 x 56; seed 0.
"""

from __future__ import annotations

import json

import torch

from kinema.evaluation.cost import environment
from kinema.models import create_model


def main() -> None:
    print(json.dumps(environment()))
    for fusion in ("mul", "add", "residual"):
        torch.manual_seed(0)
        model = create_model("srtg_r3d_34", num_classes=16, width=0.125, fusion=fusion, gate="none").train()
        x = torch.randn(4, 3, 16, 56, 56).contiguous(memory_format=torch.channels_last_3d)
        spreads = []
        with torch.no_grad():
            for name in model.feature_maps:
                x = model.stage(name, x)
                spreads.append(f"{name} {x.std():.3f}")
        print(f"{fusion}: {', '.join(spreads)}")


if __name__ == "__main__":
    main()
