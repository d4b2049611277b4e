"""The multi-scale network of CIDC: its units, and the links between units of different stages.

Source: Li, Shuai and Tighe, Directional Temporal Modeling for Action Recognition, ECCV 2020, section 3.2, figures 2, 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.models.attached import StageShape
from kinema.models.checkpointing import Stack
from kinema.ops.cidc import Direction, DirectionalConv, Mask, Normalise, spatial_attention
from kinema.ops.conv import Conv3d
from kinema.ops.layout import fold_time, unfold_time

Aggregation = Literal["chain", "dense"]
Attention = Literal["adjacent", "last", "none"]
Links = Literal["stages", "units"]


class CIDCUnit(nn.Module):
    """The directional convolution, then per direction a 1x1x1 convolution, BatchNorm and ReLU (figure 2).

    The paper mentions no BatchNorm and no ReLU. N C T H W -> N C T' H W.
    """

    def __init__(
        self,
        channels: int,
        t_in: int,
        t_out: int,
        *,
        direction: Direction,
        normalise: Normalise,
        mask: Mask,
        kernel_size: int,
    ) -> None:
        super().__init__()
        self.conv = DirectionalConv(
            channels, t_in, t_out, direction=direction, normalise=normalise, mask=mask, kernel_size=kernel_size
        )
        self.mix = nn.ModuleList(
            nn.Sequential(Conv3d(channels, channels, 1, bias=False), nn.BatchNorm3d(channels), nn.ReLU(inplace=True))
            for _ in self.conv.steps
        )

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C T' H W."""
        parts = self.conv(x).split(self.conv.steps, 2)
        return torch.cat([mix(part) for mix, part in zip(self.mix, parts, strict=True)], 2)


class Shrink(nn.Module):
    """Changes features to the size and channels of a later stage: average pooling per step, a 1x1x1 convolution."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = Conv3d(channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """N C T H W -> N C' T H' W', where H' W' is `size`."""
        return self.conv(unfold_time(F.adaptive_avg_pool2d(fold_time(x), size), x.shape[2]))


class MultiScale(nn.Module):
    """CIDC units on several stages; results of earlier stages are added to those of later ones (figure 3).

    The result has the channels, time steps and size of the last stage of the backbone.

    Args:
        shapes: shapes of all stages of the backbone.
        units: stage -> number of its units.
        make: builds a unit from its channels and its numbers of input and output steps.
        aggregation: see `cidc`.
        attention: see `cidc`.
        links: see `cidc`.
    """

    def __init__(
        self,
        shapes: Mapping[str, StageShape],
        units: Mapping[str, int],
        make: Callable[[int, int, int], CIDCUnit],
        aggregation: Aggregation,
        attention: Attention,
        links: Links,
    ) -> None:
        super().__init__()
        names = list(shapes)
        last = names[-1]
        self.levels = [name for name in names if name in units or name == last]
        steps = shapes[last].steps
        self.units, self.shrink = nn.ModuleDict(), nn.ModuleDict()
        self.sources: dict[str, str] = {}  # stage -> the stage whose attention it uses
        self.links: dict[str, list[Link]] = {}
        for i, name in enumerate(self.levels):
            channels, t = shapes[name].channels, shapes[name].steps
            if name in units:
                made = [make(channels, t if j == 0 else steps, steps) for j in range(units[name])]
                self.units[name] = Stack(*made)
            if name != last and attention != "none":
                self.sources[name] = last if attention == "last" else names[names.index(name) + 1]
            self.links[name] = []
            for earlier in self.levels[:i] if aggregation == "dense" else self.levels[max(0, i - 1) : i]:
                for link in _links(earlier, name, units, links):
                    self.shrink[link.key] = Shrink(shapes[earlier].channels, channels)
                    self.links[name].append(link)

    def forward(self, maps: dict[str, Tensor]) -> Tensor:
        """Stage -> N C T H W, with the time steps of `shapes`, to N C T H W of the last stage."""
        results: dict[str, list[Tensor]] = {}  # stage -> results after each of its units
        for name in self.levels:
            x = maps[name]
            height, width = x.shape[3:]
            if name in self.sources and name in self.units:
                x = propagate_attention(x, maps[self.sources[name]])
            stack = self.units[name] if name in self.units else Stack()
            assert isinstance(stack, Stack)
            results[name] = []
            for unit in range(max(1, len(stack))):
                parts = [
                    self.shrink[link.key](results[link.earlier][link.source], (height, width))
                    for link in self.links[name]
                    if link.target == unit
                ]
                if len(stack):
                    parts.insert(0, stack.run(stack[unit], x))
                x = sum(parts[1:], parts[0])
                results[name].append(x)
        return results[self.levels[-1]][-1]


class Link(NamedTuple):
    """A link from the result of a unit (-1 is the last) to that of a unit of a later stage, by the module `key`."""

    earlier: str
    source: int
    target: int
    key: str


def _links(earlier: str, later: str, units: Mapping[str, int], links: Links) -> list[Link]:
    """Returns the links from a stage to a later one; the last of them uses the earlier stage's result."""
    above, own = units.get(earlier, 0), units.get(later, 0)
    if links == "stages":
        return [Link(earlier, -1, max(0, own - 1), f"{earlier}_{later}")]
    last = max(0, min(above, own) - 1)
    between = [Link(earlier, j, j, f"{earlier}_{later}_{j}") for j in range(last)]
    return [*between, Link(earlier, -1, last, f"{earlier}_{later}")]


def propagate_attention(x: Tensor, later: Tensor) -> Tensor:
    """Propagates spatial attention (equation 3): `x (1 + m)`, m from a later stage, resized; N C T H W -> the same."""
    m = F.interpolate(spatial_attention(later), x.shape[2:], mode="trilinear", align_corners=False)
    return torch.addcmul(x, x, m)
