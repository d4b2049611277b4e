"""The cost of a network, counted without running it: parameters, MACs and FLOPs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kinema.errors import KinemaError
from kinema.models import create_model
from kinema.processes import cpu_name


@dataclass(frozen=True)
class Cost:
    """The counts for one view of one clip.

    Attributes:
        frames: T of the clip.
        size: its height and width in pixels.
        params: number of learned parameters.
        macs: multiply-accumulates of convolutions, linear layers and other matrix products.
        flops: twice `macs`.
        normalised: number of output values of BatchNorms; some papers count two operations for each.
    """

    frames: int
    size: int
    params: int
    macs: int
    flops: int
    normalised: int

    def to_dict(self) -> dict[str, int]:
        """Returns plain values."""
        return asdict(self)


def count(
    name: str,
    *,
    num_classes: int = 400,
    frames: int | None = None,
    size: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Cost:
    """Counts a network by name on the meta device, which only tracks shapes and computes nothing.

    Args:
        name: name of the network.
        num_classes: outputs of its classifier.
        frames: T; None is the network's default.
        size: height and width in pixels; None is the crop of the network's `ClipSpec`.
        options: further options of `create_model`.
    """
    given = dict(options or {})
    if frames is not None:
        given["frames"] = frames
    if size is not None and size < 1:
        raise KinemaError(f"size is {size}: give the height and width of the clip in pixels")
    with torch.device("meta"):
        model = create_model(name, num_classes=num_classes, **given).eval()
        t, side = model.clip_spec.frames, size or model.clip_spec.crop
        clip = torch.empty(1, 3, t, side, side)
        outputs: list[int] = []
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
                module.register_forward_hook(lambda m, args, out: outputs.append(out.numel()))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(clip)
    flops = counter.get_total_flops()
    return Cost(t, side, sum(p.numel() for p in model.parameters()), flops // 2, flops, sum(outputs))


def environment() -> dict[str, str | int]:
    """Returns the machine and versions, which are stated with measurements."""
    found: dict[str, str | int] = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpu": cpu_name(),
        "cores": os.cpu_count() or 1,
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found
