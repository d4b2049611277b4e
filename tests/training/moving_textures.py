"""A small data set of pure motion: random textures that move in one of eight ways, made in memory.

A single frame says nothing about its class: every clip has a texture, colours, a speed and noise of its own, drawn
without regard to the class, and a clip played backwards belongs to the opposite class.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

MOTIONS = ("left", "right", "up", "down", "clockwise", "anticlockwise", "towards", "away")


class Clips(NamedTuple):
    """Clips `N 3 T S S`, normalised, in `channels_last_3d` memory, and the indices of their motions, `N`."""

    clips: Tensor
    labels: Tensor


def moving_textures(number: int, *, seed: int, frames: int = 16, size: int = 40) -> Clips:
    """As many clips of every motion, to within one, in random order.

    Args:
        number: N.
        seed: of everything that is random.
        frames: T.
        size: S, in pixels.
    """
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(number)[torch.randperm(number, generator=g)] % len(MOTIONS)
    # Seen from the window: shift in x and y, turn, and growth, from the first frame to the last.
    ways = torch.stack([torch.eye(4), -torch.eye(4)], 1).flatten(0, 1)[labels]
    speed = 0.5 + torch.rand(number, 1, 1, generator=g)
    course = torch.linspace(-0.5, 0.5, frames)[None, :, None] * speed * ways[:, None]  # N T 4
    shift, turn, growth = 0.8 * course[..., :2], 1.2 * course[..., 2], (0.7 * course[..., 3]).exp()
    turn = turn + 2 * math.pi * torch.rand(number, 1, generator=g)
    cos, sin = growth * turn.cos(), growth * turn.sin()
    still = ways[:, None, 2:].abs().sum(2) == 0  # where only shifts count, the window is not turned
    cos, sin = torch.where(still, torch.ones_like(cos), cos), torch.where(still, torch.zeros_like(sin), sin)
    theta = torch.stack([cos, -sin, shift[..., 0], sin, cos, shift[..., 1]], 2).view(-1, 2, 3) * 0.5
    textures = _textures(number, 3 * size, g)
    grid = F.affine_grid(theta, [number * frames, 3, size, size], align_corners=False)
    whole = textures.repeat_interleave(frames, 0)
    clips = F.grid_sample(whole, grid, padding_mode="reflection", align_corners=False)
    clips = clips + 0.3 * torch.randn(clips.shape, generator=g)
    clips = clips.view(number, frames, 3, size, size).transpose(1, 2)
    return Clips(clips.contiguous(memory_format=torch.channels_last_3d), labels)


def _textures(number: int, size: int, g: torch.Generator) -> Tensor:
    """Smooth grey patterns of two scales, coloured; N 3 S S."""
    grey = torch.zeros(number, 1, size, size)
    for cells in (9, 21):
        noise = torch.randn(number, 1, cells, cells, generator=g)
        grey += F.interpolate(noise, (size, size), mode="bicubic", align_corners=False)
    return grey * (0.5 + torch.rand(number, 3, 1, 1, generator=g)) + 0.5 * torch.randn(number, 3, 1, 1, generator=g)
