"""Compares networks with those of PyTorchVideo, and TSM with its usual implementation, in one interleaved run.

    pip install --no-deps pytorchvideo fvcore iopath parameterized yacs portalocker tabulate termcolor
    .venv/bin/python benchmarks/peers.py [PAIR ...] [--rounds 9] [--steps 3] [--threads N] [--budget 300]

Protocol: random weights, float32, one clip of the network's own size, also in the training step (forward,
cross-entropy, backward). In each round the peer, ours and ours after `optimize` run once. Figures are medians, with
quartiles, of the time of the peer over ours in the same round: above 1, ours is faster. PyTorchVideo imports
torchvision only for detection; a stub replaces it. Logits are compared in tests/weights/test_pytorchvideo.py.
`tsm_r50` is compared with a ResNet-50 whose shift copies parts of the features into zeros, as published code does.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import types
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.backends.clips import generated_clips
from kinema.evaluation.cost import environment
from kinema.models import create_model
from kinema.recognizer import Recognizer

CLASSES = 400
# Ours -> module and function of PyTorchVideo, frames, side.
PAIRS: dict[str, tuple[str, str, int, int]] = {
    "x3d_m": ("hub.x3d", "x3d_m", 16, 224),
    "slowonly_50": ("hub.resnet", "slow_r50", 8, 224),
    "slowfast_50": ("hub.slowfast", "slowfast_r50", 32, 224),
    "ir_csn_101": ("hub.csn", "csn_r101", 32, 224),
    "tsm_r50": ("", "", 8, 224),
}


class Shift(nn.Module):
    """Takes an eighth of the channels from the next and an eighth from the previous frame, zeros beyond the ends."""

    def __init__(self, frames: int, conv: nn.Module) -> None:
        super().__init__()
        self.frames, self.conv = frames, conv

    def forward(self, x: Tensor) -> Tensor:
        clips = x.unflatten(0, (-1, self.frames))
        fold = clips.shape[2] // 8
        out = torch.zeros_like(clips)
        out[:, :-1, :fold] = clips[:, 1:, :fold]
        out[:, 1:, fold : 2 * fold] = clips[:, :-1, fold : 2 * fold]
        out[:, :, 2 * fold :] = clips[:, :, 2 * fold :]
        return self.conv(out.flatten(0, 1))


class Bottleneck(nn.Module):
    def __init__(self, inner: int, channels: int, stride: int, frames: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Shift(frames, nn.Conv2d(inner, channels, 1, bias=False)), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
            nn.Conv2d(channels, 4 * channels, 1, bias=False), nn.BatchNorm2d(4 * channels),
        )  # fmt: skip
        self.shortcut = nn.Sequential()
        if stride > 1 or inner != 4 * channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inner, 4 * channels, 1, stride, bias=False), nn.BatchNorm2d(4 * channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class PlainTSM(nn.Module):
    """ResNet-50 over the frames of a clip N 3 T H W as a batch, with a shift before every block; logits N K."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        )
        inner, blocks = 64, []
        for stage, count in enumerate((3, 4, 6, 3)):
            for i in range(count):
                blocks.append(Bottleneck(inner, 64 << stage, 2 if stage and not i else 1, frames))
                inner = 256 << stage
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(inner, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.blocks(self.stem(x.transpose(1, 2).flatten(0, 1)))
        return self.classifier(maps.mean((2, 3))).unflatten(0, (len(x), -1)).mean(1)


def peer(name: str) -> tuple[nn.Module, Callable[[Tensor], Any]]:
    """Returns the peer network and the function that makes its input of a clip."""
    module, function, frames, _ = PAIRS[name]
    if not module:
        return PlainTSM(frames), lambda x: x
    whole, ops = (types.ModuleType(title) for title in ("torchvision", "torchvision.ops"))
    ops.RoIAlign = nn.Identity
    whole.ops = ops
    stubs = {"torchvision": whole, "torchvision.ops": ops}
    sys.modules |= stubs
    builder = getattr(import_module(f"pytorchvideo.models.{module}"), function)
    for stub in stubs:
        del sys.modules[stub]
    network = builder(model_num_class=CLASSES)
    if name == "slowfast_50":
        return network, lambda x: [x[:, :, torch.linspace(0, frames - 1, frames // 4).long()], x]
    return network, lambda x: x


def once(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def rounds(works: list[Callable[[], Any]], count: int) -> np.ndarray:
    """Returns seconds, rounds x works, after one warm-up round; every other round is in reverse order."""
    seconds = np.empty((count + 1, len(works)))
    for i in range(count + 1):
        for j in range(len(works))[:: 1 if i % 2 else -1]:
            seconds[i, j] = once(works[j])
    return seconds[1:]


def told(seconds: np.ndarray, ours: int) -> str:
    low, mid, high = np.quantile(seconds[:, 0] / seconds[:, ours], [0.25, 0.5, 0.75])
    return f"{mid:.2f} [{low:.2f}, {high:.2f}]"


def measure(name: str, args: argparse.Namespace) -> str:
    torch.manual_seed(0)
    theirs, pack = peer(name)
    _, _, frames, side = PAIRS[name]
    ours = create_model(name, num_classes=CLASSES, **({"frames": frames} if name == "tsm_r50" else {}))
    spec = ours.clip_spec
    assert (spec.frames, spec.crop) == (frames, side), f"{name} takes {spec.frames} x {spec.crop}"
    fast = Recognizer(ours, tuple(map(str, range(CLASSES))), spec)
    pixels = generated_clips(spec, 1)
    x = fast.to_input(pixels)
    plain = x.contiguous()
    theirs.eval()
    ours.eval()
    report = fast.optimize(budget=args.budget, store=False).report
    with torch.inference_mode():
        works = [lambda: theirs(pack(plain)), lambda: ours(x), lambda: fast._logits(x)]
        forward = rounds(works, args.rounds)
    theirs.train()
    ours.train()
    target = torch.zeros(1, dtype=torch.long)

    def step(network: nn.Module, taken: Any) -> None:
        network.zero_grad(set_to_none=True)
        F.cross_entropy(network(taken).flatten(1), target).backward()

    training = rounds([lambda: step(theirs, pack(plain)), lambda: step(ours, x)], args.steps)
    ms = "/".join(f"{1e3 * value:.0f}" for value in np.median(forward, 0))
    steps = "/".join(f"{1e3 * value:.0f}" for value in np.median(training, 0))
    return (
        f"| {name} | {frames} x {side} | {ms} | {told(forward, 1)} | {report.chosen} | {told(forward, 2)} | {steps} "
        f"| {told(training, 1)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--budget", type=float, default=300.0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(json.dumps({**environment(), "rounds": args.rounds, "steps": args.steps}), flush=True)
    print("| network | clip | ms: peer/eager/optimized | eager | chosen | optimized | step ms | training step |")
    print("|---|---|---|---|---|---|---|---|")
    for name in args.pairs or list(PAIRS):
        print(measure(name, args), flush=True)


if __name__ == "__main__":
    main()
