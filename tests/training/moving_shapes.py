"""Two small tasks of pure motion, made in memory: a soft shape on a noisy ground, and a grating that drifts.

The order of frames decides: a clip played backwards belongs to the opposite class. Colours, contrast, size, place,
speed and noise are drawn without regard to the class.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

MOTIONS = ("left", "right", "up", "down", "clockwise", "anticlockwise", "growing", "shrinking")


class Clips(NamedTuple):
    """Clips `N 3 T S S`, about normalised, in `channels_last_3d` memory, and the indices of their motions, `N`."""

    clips: Tensor
    labels: Tensor


def moving_shapes(number: int, *, seed: int, frames: int = 16, size: int = 40, noise: float = 0.3) -> Clips:
    """As many clips of every motion, to within one, in random order.

    Args:
        number: N.
        seed: of everything that is random.
        frames: T.
        size: S, in pixels.
        noise: standard deviation of the noise in every pixel.
    """
    g = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(number, *shape, generator=g)

    labels = torch.arange(number)[torch.randperm(number, generator=g)] % len(MOTIONS)
    kind, sign = labels // 2, 1.0 - 2.0 * (labels % 2)
    course = torch.linspace(-0.5, 0.5, frames) * (sign * uniform(0.6, 1.2))[:, None]  # N T
    still = torch.zeros_like(course)
    x = uniform(-0.3, 0.3, 1) - torch.where(kind[:, None] == 0, course, still)
    y = uniform(-0.3, 0.3, 1) - torch.where(kind[:, None] == 1, course, still)
    angle = uniform(0, 2 * math.pi, 1) + 3.0 * course
    around = kind[:, None] == 2
    x, y = torch.where(around, 0.45 * angle.cos(), x), torch.where(around, 0.45 * angle.sin(), y)
    radius = uniform(0.2, 0.35, 1) * torch.where(kind[:, None] == 3, course.exp(), still + 1)
    place = torch.linspace(-1, 1, size)
    distance = torch.hypot(place - x[..., None, None], place[:, None] - y[..., None, None])  # N T S S
    shape = torch.sigmoid((radius[..., None, None] - distance) * 12)
    colour = uniform(-1, 1, 3, 1, 1, 1) + (2.0 * torch.randint(2, (number, 1, 1, 1, 1), generator=g) - 1)
    clips = uniform(-0.5, 0.5, 3, 1, 1, 1) + colour * shape[:, None]
    clips = clips + noise * torch.randn(clips.shape, generator=g)
    return Clips(clips.contiguous(memory_format=torch.channels_last_3d), labels)


def drifting_gratings(number: int, *, seed: int, frames: int = 16, size: int = 40, noise: float = 0.5) -> Clips:
    """Gratings that drift in one of eight directions, 45 degrees apart; arguments as for `moving_shapes`."""
    g = torch.Generator().manual_seed(seed + 77)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(number, *shape, generator=g)

    labels = torch.arange(number)[torch.randperm(number, generator=g)] % 8
    angle = labels * math.pi / 4 + uniform(-0.2, 0.2)
    waves, speed, start = uniform(1.0, 2.5), uniform(0.04, 0.10), uniform(0, 2 * math.pi)

    def each(values: Tensor) -> Tensor:
        return values[:, None, None, None]

    place, time = torch.linspace(-1, 1, size), torch.arange(frames).float()[None, :, None, None]
    along = each(angle.cos()) * place + each(angle.sin()) * place[:, None]  # N 1 S S
    phase = 2 * math.pi * each(waves) * (along - each(speed) * time) + each(start)
    clips = uniform(-1, 1, 3, 1, 1, 1) * phase.sin()[:, None] + uniform(-0.5, 0.5, 3, 1, 1, 1)
    clips = clips + noise * torch.randn(clips.shape, generator=g)
    return Clips(clips.contiguous(memory_format=torch.channels_last_3d), labels)
