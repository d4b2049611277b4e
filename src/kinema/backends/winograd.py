"""Replacement of 3x3 convolutions by Winograd's method where a short timing shows that it is faster."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from kinema.ops.packing import PackedKernel, no_packing
from kinema.ops.winograd import Winograd, fits, tiles

Case = tuple[int, int, int, int, int]  # frames, height, width, channels of the input and of the output

_ROUNDS = 3
_GAIN = 1.1  # smallest estimated speed-up
_MOST = 16  # convolutions of one network, each of which takes one or two seconds to compile
_OPERATIONS = 85  # of one convolution in a traced network
_SAVED = 3e-4  # smallest estimated saving in seconds: smaller convolutions gain less than is estimated for them


def use_winograd(network: nn.Module, example: Tensor, dtype: torch.dtype) -> int:
    """Replaces the convolutions of a network that are estimated to be faster by Winograd's method, in place.

    The network runs once on the example. For each kernel and each size of inputs, the convolution is timed against the
    matrix products of the method and two copies of their operands, which take about the time of the transforms.

    Args:
        network: on the CPU, in float32 and evaluation mode; it will be compiled in `dtype`.
        example: one clip N 3 T H W float32.
        dtype: float32 or bfloat16.

    Returns:
        Number of replaced convolutions.
    """
    if no_packing() is not None:
        return 0
    found = {name: module for name, module in network.named_modules() if fits(module)}
    cases: dict[str, Case] = {}
    hooks = [module.register_forward_hook(partial(_note, cases, name)) for name, module in found.items()]
    try:
        with torch.no_grad():
            network(example)
    finally:
        for hook in hooks:
            hook.remove()
    times = {case: estimated_seconds(case, dtype) for case in set(cases.values())}
    saved = {case: plain - other if plain > _GAIN * other else 0.0 for case, (plain, other) in times.items()}
    best = sorted(cases, key=lambda name: -saved[cases[name]])[:_MOST]
    faster = [name for name in best if saved[cases[name]] > _SAVED]
    for name in faster:
        network.set_submodule(name, Winograd(found[name]))
    return len(faster)


def winograd_operations(network: nn.Module) -> int:
    """Returns the number of operations of Winograd's method in a traced network."""
    return _OPERATIONS * sum(isinstance(part, Winograd) for part in network.modules())


@torch.no_grad()
def estimated_seconds(case: Case, dtype: torch.dtype) -> tuple[float, float]:
    """Returns the seconds of a convolution, and those estimated for Winograd's method, from a few runs.

    Args:
        case: frames, height, width, channels of the input and of the output.
        dtype: dtype of the operands.
    """
    frames, height, width, channels, out_channels = case
    conv = nn.Conv2d(channels, out_channels, 3, padding=1, bias=False).to(dtype)
    direct = PackedKernel(conv)
    pictures = torch.ones(frames, height, width, channels, dtype=dtype).permute(0, 3, 1, 2)
    kernel = torch.ones(16, channels, out_channels, dtype=dtype)
    parts = torch.ones(16, frames * tiles(height) * tiles(width), channels, dtype=dtype)
    plain, other = [], []
    for _ in range(1 + _ROUNDS):
        plain.append(_seconds(lambda: direct(pictures, conv.weight, None)))
        other.append(_seconds(lambda: torch.bmm(parts.clone(), kernel).clone()))
    return min(plain[1:]), min(other[1:])


def _note(cases: dict[str, Case], name: str, conv: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
    x = args[0]
    frames = len(x) if x.ndim == 4 else x.shape[0] * x.shape[2]
    cases[name] = (frames, *x.shape[-2:], x.shape[1], output.shape[1])


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
