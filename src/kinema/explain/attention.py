"""CIDC's attention and that of its backbone: the sigmoid of the mean over channels, per stage and direction.

Source: Li, Shuai and Tighe, Directional Temporal Modeling for Action Recognition, ECCV 2020, equation 3, figures 1, 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import unknown
from kinema.explain.activations import one_clip, record
from kinema.explain.layers import exposed_layers, stage_names
from kinema.models.cidc import CIDC, CIDCUnit
from kinema.ops.cidc import spatial_attention

Part = Literal["backbone", "forward", "backward", "whole"]


@dataclass(frozen=True)
class Attention:
    """The attention of one stage.

    Attributes:
        stage: its name, with `slow.` or `fast.` for two pathways; `cidc` is F_CIDC, the output of the multi-scale
            network.
        part: `backbone` for a stage of the network itself; `forward` and `backward` for CIDC's two directions, or
            `whole` if it has one. In `cidc` the outputs of several stages are summed; its halves have the same names.
        map: float64 T' h w in (0, 1), with its steps in the order of the clip, also for the second direction.
        frames: the frame of the clip that represents each step: the middle of its sub-clip [T'], ascending. A step of
            a direction also sees earlier sub-clips; its own sub-clip is the new part.
    """

    stage: str
    part: Part
    map: Tensor
    frames: tuple[int, ...]

    def scaled(self) -> Tensor:
        """The map for display: the means over channels, scaled from their smallest (0) to their largest (1).

        The sigmoid of large means is close to 1 everywhere; the scaled means keep their order. A constant map is 0.
        """
        means = torch.logit(self.map.double(), eps=1e-15)
        low, high = means.min(), means.max()
        return (means - low) / (high - low) if high > low else torch.zeros_like(means)


def attention(model: nn.Module, clip: Tensor, stages: Sequence[str] | None = None) -> list[Attention]:
    """Computes the attention of stages of a network; for CIDC also of its directions, after that of the backbone stage.

    Args:
        model: a network with `feature_maps`. Any network has this attention, such as the paper's I3D in figure 4.
        clip: 3 T H W or 1 3 T H W, normalised.
        stages: some of `feature_maps`; None is all except a stem.

    Returns:
        In the order of the network.

    Raises:
        KinemaError: the network lacks a stage, or has no `feature_maps`.
    """
    names = stage_names(model)
    wanted = [name for name in names if name != "stem"] if stages is None else list(stages)
    for name in wanted:
        if name not in names:
            raise unknown("stage", str(name), names)
    batch = one_clip(model, clip)
    layers = {
        name: [layer for layer in exposed_layers(model) if layer == name or layer.endswith(f".{name}")]
        for name in wanted
    }
    units = {name: _last_unit(model, f"cidc.units.{name}") for name in wanted} if isinstance(model, CIDC) else {}
    asked = [*(layer for own in layers.values() for layer in own), *(u[0] for u in units.values() if u is not None)]
    _, maps = record(model, batch, asked)
    frames = batch.shape[2]
    found: list[Attention] = []
    for name in wanted:
        if isinstance(model, CIDC) and name == "cidc":
            last = _last_unit(model, "cidc.units")
            assert last is not None
            found += _directions(name, maps[name], last[1].conv.steps, frames)
            continue
        found += [_attention(layer, "backbone", maps[layer], frames) for layer in layers[name]]
        unit = units.get(name)
        if unit is not None:
            found += _directions(name, maps[unit[0]], unit[1].conv.steps, frames)
    return found


def attention_map(model: nn.Module, clip: Tensor, target: int = 0, *, layer: str | None = None) -> Tensor:
    """Returns the attention of one stage as a map over the clip, like other methods. It is the same for every class.

    For CIDC's `cidc` it is the mean of both directions, each in the temporal order of the clip.

    Args:
        model: a network with `feature_maps`.
        clip: 3 T H W or 1 3 T H W.
        target: is ignored.
        layer: a stage; None is the last one.

    Returns:
        float32 T H W in [0, 1], scaled to its own range.

    Raises:
        KinemaError: as for `attention`.
    """
    found = attention(model, clip, [stage_names(model)[-1] if layer is None else layer])
    size = tuple(one_clip(model, clip).shape[2:])
    own = [part for part in found if part.part == "backbone"] or found
    maps = [F.interpolate(part.scaled()[None, None], size, mode="trilinear", align_corners=False)[0, 0] for part in own]
    return torch.stack(maps).mean(0).float()


def _last_unit(model: nn.Module, within: str) -> tuple[str, CIDCUnit] | None:
    """Returns name and module of the last unit of CIDC inside a module; None if there is none."""
    units = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, CIDCUnit) and name.startswith(f"{within}.")
    ]
    return units[-1] if units else None


def _directions(stage: str, output: Tensor, steps: tuple[int, ...], frames: int) -> list[Attention]:
    """Splits an output in time; the second direction runs over the reversed clip, so it is reversed again."""
    parts = output.split(steps, 2)
    if len(parts) == 1:
        return [_attention(stage, "whole", parts[0], frames)]
    return [
        _attention(stage, "forward", parts[0], frames),
        _attention(stage, "backward", parts[1].flip(2), frames),
    ]


def _attention(stage: str, part: Part, output: Tensor, frames: int) -> Attention:
    steps = output.shape[2]
    middles = tuple(min(frames - 1, (2 * step + 1) * frames // (2 * steps)) for step in range(steps))
    return Attention(stage, part, spatial_attention(output.double())[0, 0].cpu(), middles)
