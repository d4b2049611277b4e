"""Channel-wise 3x3x3 convolutions on this machine: memory layouts and implementations, forward and training.

    python benchmarks/depthwise_layout.py [--batch 2] [--rounds 15] [--threads 1] [--json]

  default memory      `torch.nn.Conv3d` on a clip in PyTorch's default memory, N C T H W
  channels last       `torch.nn.Conv3d` on a clip in channels_last_3d memory, N T H W C: Kinema's layout
  three 2-D           one 2-D convolution for each frame of the kernel, on frames in channels-last memory, summed
  kinema              `kinema.ops.Conv3d`: channels last, with its own backward pass
Protocol: float32, the shapes of X3D-M and MTNet-M at 16 x 160 x 160, and the 5x1x1 of their stem. First the results of
all implementations are compared, gradients included. Each runs once per round, the first changes with every round, and
two rounds of warm-up come first. "forward" is in inference mode, "training" is forward and the gradients of input and
weights. The script prints the median milliseconds in default memory, and for each implementation the median of its
processor time over that of the default memory (below 1: faster).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from kinema.evaluation.cost import environment
from kinema.ops import Conv3d
from kinema.ops.layout import fold_time, unfold_time

Size = tuple[int, int, int]
# channels, frames, side, kernel, stride in space
CASES: list[tuple[int, int, int, Size, int]] = [
    (24, 16, 80, (5, 1, 1), 1),
    (54, 16, 80, (3, 3, 3), 2),
    (54, 16, 40, (3, 3, 3), 1),
    (108, 16, 20, (3, 3, 3), 1),
    (216, 16, 10, (3, 3, 3), 1),
    (432, 16, 5, (3, 3, 3), 1),
]
WARM_UP = 2
LAST = torch.channels_last_3d


def plain(x: Tensor, conv: Conv3d) -> Tensor:
    return F.conv3d(x, conv.weight, None, conv.stride, conv.padding, 1, len(conv.weight))


def planes(x: Tensor, conv: Conv3d) -> Tensor:
    kernel_size, frames = conv.weight.shape[2], x.shape[2]
    padded = F.pad(x, (0, 0, 0, 0, kernel_size // 2, kernel_size // 2))
    found = [
        F.conv2d(
            fold_time(padded[:, :, i : i + frames]), conv.weight[:, :, i], None, conv.stride[1:], conv.padding[1:], 1,
            len(conv.weight),
        )
        for i in range(kernel_size)
    ]  # fmt: skip
    return unfold_time(sum(found[1:], found[0]), frames)


def own(x: Tensor, conv: Conv3d) -> Tensor:
    return conv(x)


WAYS: dict[str, tuple[Callable[[Tensor, Conv3d], Tensor], torch.memory_format]] = {
    "default memory": (plain, torch.contiguous_format),
    "channels last": (plain, LAST),
    "three 2-D": (planes, LAST),
    "kinema": (own, LAST),
}


def measure(case: tuple[int, int, int, Size, int], batch: int, rounds: int) -> dict[str, dict[str, float]]:
    channels, frames, side, kernel, stride = case
    torch.manual_seed(0)
    padding = tuple(k // 2 for k in kernel)
    conv = Conv3d(channels, channels, kernel, (1, stride, stride), padding, groups=channels, bias=False)
    clip = torch.randn(batch, channels, frames, side, side)
    side = -(-side // stride)
    gradient = torch.randn(batch, channels, frames, side, side)
    clips = {way: clip.contiguous(memory_format=memory).requires_grad_() for way, (_, memory) in WAYS.items()}
    gradients = {way: gradient.contiguous(memory_format=memory) for way, (_, memory) in WAYS.items()}

    def forward(way: str) -> Tensor:
        with torch.inference_mode():
            return WAYS[way][0](clips[way], conv)

    def training(way: str) -> tuple[Tensor, ...]:
        return torch.autograd.grad(WAYS[way][0](clips[way], conv), (clips[way], conv.weight), gradients[way])

    for way in WAYS:
        torch.testing.assert_close(forward(way), forward("default memory"), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(training(way), training("default memory"), rtol=1e-3, atol=1e-2)
    names, found = list(WAYS), {}
    for what, run in (("forward", forward), ("training", training)):
        times: dict[str, list[float]] = {way: [] for way in names}
        for turn in range(WARM_UP + rounds):
            for way in names[turn % len(names) :] + names[: turn % len(names)]:
                begin = time.process_time()
                run(way)  # type: ignore[operator]
                times[way].append(time.process_time() - begin)
        base = times[names[0]][WARM_UP:]
        found[what] = {"ms": 1e3 * statistics.median(base)}
        for way in names[1:]:
            found[what][way] = statistics.median(a / b for a, b in zip(times[way][WARM_UP:], base, strict=True))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=2, help="clips per batch")
    parser.add_argument("--rounds", type=int, default=15, help="rounds; use at least 10 for reliable results")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report = {}
    for case in CASES:
        channels, frames, side, kernel, stride = case
        name = f"{channels} x {frames} x {side} x {side}, {'x'.join(map(str, kernel))}" + (
            ", stride 2" if stride > 1 else ""
        )
        report[name] = measure(case, arguments.batch, arguments.rounds)
    if arguments.json:
        json.dump({"machine": environment(), **vars(arguments), "rows": report}, sys.stdout, indent=1)
        return
    print("   ".join(f"{key} {value}" for key, value in environment().items()))
    print(f"batch {arguments.batch}, median of {arguments.rounds} rounds; processor time / default memory\n")
    print(f"{'':<36}{'forward':^46}{'training':^46}")
    heads = "".join(f"{head:>11}" if head == "ms" else f"{head:>15}" for head in ("ms", *list(WAYS)[1:]))
    print(f"{'channels, clip, kernel':<36}{heads[4:]}{heads}")
    for name, rows in report.items():
        cells = ""
        for row in rows.values():
            cells += f"{row['ms']:>11.2f}" + "".join(f"{row[way]:>15.3f}" for way in list(WAYS)[1:])
        print(f"{name:<36}{cells[4:]}")


if __name__ == "__main__":
    main()
