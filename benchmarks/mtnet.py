"""MTNet against a direct implementation of the same network: forward pass and training step.

    python benchmarks/mtnet.py [--model mtnet_m] [--size 160] [--batch 1] [--rounds 10] [--threads 1] [--json]

Three networks with the same weights; their logits are compared first:
  kinema              as `create_model` builds it;
  obvious operators   with SoftPool by unfold, and frame selection by a loop over the clips and frames of a batch;
  obvious throughout  the same, with `torch.nn.Conv3d` for every convolution, and PyTorch's default memory.
Protocol: random weights and clips, 16 frames, float32. Each network runs once per round, the first changes with every
round, and two rounds of warm-up come first. "forward" is in inference mode, "step" is forward and backward in training
mode. The script prints the median milliseconds and the median, with quartiles, of the time over kinema's, both for
wall-clock and for processor time. Required with the obvious operators: at least 1.5.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.evaluation.cost import environment
from kinema.models import create_model
from kinema.models.video_model import VideoModel
from kinema.ops import pooling

WARM_UP = 2
WAYS = ("kinema", "obvious operators", "obvious throughout")


def unfold_pool(x: Tensor) -> Tensor:
    h, w = x.shape[3] % 2, x.shape[4] % 2
    if h or w:
        x = F.pad(x, (0, w, 0, h), value=-1e30)
    windows = x.unfold(3, 2, 2).unfold(4, 2, 2).flatten(-2)
    return (windows.softmax(-1) * windows).sum(-1)


def loop_select(x: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    chosen, indices = [], []
    for clip in x:
        v = clip.detach().mean((2, 3))
        cosines = [F.cosine_similarity(v[:, t], v[:, t + 1], dim=0).item() for t in range(v.shape[1] - 1)]
        scores = [a + b for a, b in pairwise(cosines)]
        kept = sorted(sorted(range(1, len(scores) + 1), key=lambda t: scores[t - 1])[:keep])
        chosen.append(torch.stack([clip[:, t] for t in kept], 1))
        indices.append(torch.tensor(kept))
    return torch.stack(chosen), torch.stack(indices)


@contextmanager
def operators(way: str) -> Iterator[None]:
    """Swaps the operators that MTConv's prolonged branch calls."""
    fast = pooling.soft_pool, pooling.select_frames
    if way != "kinema":
        pooling.soft_pool, pooling.select_frames = unfold_pool, loop_select  # type: ignore[assignment]
    try:
        yield
    finally:
        pooling.soft_pool, pooling.select_frames = fast


def network(way: str, name: str) -> VideoModel:
    torch.manual_seed(0)
    model = create_model(name)
    if way == "obvious throughout":
        for parent in list(model.modules()):
            for key, module in list(parent.named_children()):
                if isinstance(module, nn.Conv3d):
                    setattr(parent, key, plain(module))
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        model.stem.register_forward_pre_hook(lambda module, inputs: (inputs[0].contiguous(),))
    return model


def plain(conv: nn.Conv3d) -> nn.Conv3d:
    """Returns PyTorch's own convolution with the parameters of another one."""
    made = nn.Conv3d(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups,
        bias=conv.bias is not None, padding_mode=conv.padding_mode,
    )  # fmt: skip
    made.load_state_dict(conv.state_dict())
    return made


def run(model: VideoModel, what: str, clips: Tensor) -> Tensor:
    if what == "forward":
        with torch.inference_mode():
            return model.eval()(clips)
    logits = model.train()(clips)
    logits.square().mean().backward()
    model.zero_grad()
    return logits


def measure(name: str, size: int, batch: int, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    models = {way: network(way, name) for way in WAYS}
    clips = torch.randn(batch, 3, 16, size, size)
    logits = {}
    for way, model in models.items():
        with operators(way):
            logits[way] = run(model, "forward", clips)
        torch.testing.assert_close(logits[way], logits["kinema"], rtol=1e-3, atol=1e-5)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for what in ("forward", "step"):
        wall: dict[str, list[float]] = {way: [] for way in WAYS}
        processor: dict[str, list[float]] = {way: [] for way in WAYS}
        for turn in range(WARM_UP + rounds):
            for way in WAYS[turn % 3 :] + WAYS[: turn % 3]:
                with operators(way):
                    begin = time.perf_counter(), time.process_time()
                    run(models[way], what, clips)
                    wall[way].append(time.perf_counter() - begin[0])
                    processor[way].append(time.process_time() - begin[1])
        found[what] = {}
        for way in WAYS:
            row = {"ms": 1e3 * statistics.median(wall[way][WARM_UP:])}
            for clock, times in (("wall", wall), ("processor", processor)):
                ratios = [a / b for a, b in zip(times[way][WARM_UP:], times["kinema"][WARM_UP:], strict=True)]
                low, _, high = statistics.quantiles(ratios, n=4)
                row |= {clock: statistics.median(ratios), f"{clock}_low": low, f"{clock}_high": high}
            found[what][way] = row
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mtnet_m", help="one of the MTNets of the text")
    parser.add_argument("--size", type=int, default=160, help="height and width of the clips")
    parser.add_argument("--batch", type=int, default=1, help="clips per batch")
    parser.add_argument("--rounds", type=int, default=10, help="rounds; use at least 10 for reliable results")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = measure(arguments.model, arguments.size, arguments.batch, arguments.rounds)
    if arguments.json:
        json.dump({"machine": environment(), **vars(arguments), "rows": found}, sys.stdout, indent=1)
        return
    print("   ".join(f"{key} {value}" for key, value in environment().items()))
    print(
        f"{arguments.model}, batch {arguments.batch}, 16 x {arguments.size} x {arguments.size}, "
        f"median of {arguments.rounds} rounds\n"
    )
    print(f"{'what':<9}{'network':<20}{'ms':>8}{'wall / kinema (quartiles)':>30}{'processor / kinema (quartiles)':>34}")
    for what, rows in found.items():
        for way, row in rows.items():
            cells = [f"{row[c]:.2f} ({row[f'{c}_low']:.2f} to {row[f'{c}_high']:.2f})" for c in ("wall", "processor")]
            print(f"{what:<9}{way:<20}{row['ms']:>8.0f}{cells[0]:>30}{cells[1]:>34}")
    print("\nrequired with the obvious operators: at least 1.5")


if __name__ == "__main__":
    main()
