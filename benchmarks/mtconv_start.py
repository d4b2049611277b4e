"""Measures features and curvature of the loss of MTConv's networks before training.

    .venv/bin/python benchmarks/mtconv_start.py [--seeds 3]

r3d_50 and mtconv_r50, the latter also with other options and other weights of its BatchNorms, at width 0.125 in
training mode on 24 clips of 16 x 56 x 56 with a moving disc; random weights. The script prints three means over seeds:
the share of the prolonged channels (an eighth of all) in the variance between clips of the last stage's mean features;
the number of directions of this variance (participation ratio); and the largest eigenvalue of the Hessian of the loss,
by power iteration. With momentum 0.9, training is unstable if this eigenvalue exceeds 3.8 divided by the learning rate,
which is 76 at 0.05.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.evaluation.cost import environment
from kinema.models import create_model
from kinema.ops import MTConv

NETWORKS: tuple[tuple[str, str, dict[str, Any], float | None], ...] = (
    ("r3d-50", "r3d_50", {}, None),
    ("earlier: ReLU before the sum", "mtconv_r50", {"relu_before_sum": True}, 1.0),
    ("ReLU after the sum", "mtconv_r50", {"relu_before_sum": False}, 1.0),
    ("the same, no prolonged branch", "mtconv_r50", {"relu_before_sum": False, "delta": 1.0}, 1.0),
    ("ReLU before, prolonged at 0.1", "mtconv_r50", {"relu_before_sum": True}, 0.1),
    ("ReLU after, prolonged at 0.1", "mtconv_r50", {"relu_before_sum": False}, 0.1),
    ("the default: and ends at 0.3", "mtconv_r50", {}, None),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    print(json.dumps({**environment(), "seeds": args.seeds}))
    print(f"{'':<34}{'prolonged':>10}{'directions':>12}{'curvature':>11}")
    for title, name, options, weight in NETWORKS:
        found = torch.tensor([measure(name, options, weight, seed) for seed in range(args.seeds)]).mean(0).tolist()
        print(f"{title:<34}{found[0]:>10.0%}{found[1]:>12.1f}{found[2]:>11.0f}", flush=True)


def measure(name: str, options: dict[str, Any], weight: float | None, seed: int) -> tuple[float, float, float]:
    """Returns the share of the prolonged channels, the number of directions and the curvature."""
    torch.manual_seed(seed)
    model = create_model(name, num_classes=8, frames=16, width=0.125, **options).train()
    for module in model.modules():
        if weight is not None and isinstance(module, MTConv):
            nn.init.ones_(module.local.norm.weight)
            for branch in (module.prolonged, module.lateral):
                if branch is not None:
                    nn.init.constant_(branch.norm.weight, weight)
    clips, labels = shapes(24, seed)
    with torch.no_grad():
        pooled = model.forward_features(clips).mean((2, 3, 4))
    spread = pooled - pooled.mean(0)
    variance = spread.square().sum(0)
    local = pooled.shape[1] * 7 // 8 if "delta" not in options and name == "mtconv_r50" else pooled.shape[1]
    energy = torch.linalg.svdvals(spread).square()
    return (
        float(variance[local:].sum() / variance.sum()),
        float(energy.sum() ** 2 / energy.square().sum()),
        curvature(model, clips, labels),
    )


def curvature(model: nn.Module, clips: Tensor, labels: Tensor, rounds: int = 10, step: float = 1e-2) -> float:
    """Returns the Hessian's largest eigenvalue, from differences of gradients: SoftPool has no second derivative."""
    weights = list(model.parameters())

    def gradient() -> list[Tensor]:
        return list(torch.autograd.grad(F.cross_entropy(model(clips), labels), weights))

    start, here = [w.detach().clone() for w in weights], gradient()
    direction, value = here, 0.0
    for _ in range(rounds):
        norm = torch.sqrt(sum(d.square().sum() for d in direction))  # type: ignore[arg-type]
        direction = [d / norm for d in direction]
        with torch.no_grad():
            for w, s, d in zip(weights, start, direction, strict=True):
                w.copy_(s + step * d)
        product = [(there - h) / step for there, h in zip(gradient(), here, strict=True)]
        with torch.no_grad():
            for w, s in zip(weights, start, strict=True):
                w.copy_(s)
        value = float(sum((d * p).sum() for d, p in zip(direction, product, strict=True)))
        direction = product
    return value


def shapes(number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Returns discs of random colours moving in one of eight directions, N 3 16 56 56, and their directions."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(number) % 8
    angle = labels * (torch.pi / 4)
    way = torch.stack([angle.cos(), angle.sin()], 1)[:, None] * torch.linspace(-0.5, 0.5, 16)[:, None]  # N T 2
    centre = way + 0.6 * torch.rand(number, 1, 2, generator=g) - 0.3
    place = torch.linspace(-1, 1, 56)
    distance = torch.hypot(place - centre[..., :1, None], place[:, None] - centre[..., 1:, None])
    colour = 4 * torch.rand(number, 3, 1, 1, 1, generator=g) - 2
    clips = colour * torch.sigmoid(12 * (0.3 - distance))[:, None]
    return clips + 0.3 * torch.randn(clips.shape, generator=g), labels


if __name__ == "__main__":
    main()
