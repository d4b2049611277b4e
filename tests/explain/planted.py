"""Networks whose evidence is known: they look at one place, or at nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Corner(nn.Module):
    """Class 1 is as likely as one corner is bright in some frames; nothing else counts. N 3 T H W -> N 2."""

    def __init__(self, frames: slice, rows: slice, columns: slice, gain: float = 8.0) -> None:
        super().__init__()
        self.place, self.gain = (slice(None), slice(None), frames, rows, columns), gain

    def forward(self, x: Tensor) -> Tensor:
        bright = (x[self.place].mean((1, 2, 3, 4)) - 0.5) * self.gain
        return torch.stack([-bright, bright], 1)

    def evidence(self, shape: tuple[int, int, int, int]) -> Tensor:
        """The map that is right: 1 where the network looks; N T H W."""
        found = torch.zeros(shape)
        found[self.place[0], *self.place[2:]] = 1.0
        return found


class Colour(nn.Module):
    """A tiny network of two stages, `feature_maps` and `classifier`, for what needs those. N 3 T H W -> N K."""

    def __init__(self, classes: int = 3, width: int = 8) -> None:
        super().__init__()
        self.feature_maps = ("first", "second")
        self.first = nn.Sequential(nn.Conv3d(3, width, 3, padding=1), nn.BatchNorm3d(width), nn.ReLU(inplace=True))
        self.second = nn.Sequential(nn.Conv3d(width, width, 3, padding=1), nn.BatchNorm3d(width), nn.ReLU())
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.second(self.first(x)).mean((2, 3, 4)))


def spots(n: int, classes: int = 3, size: int = 16, frames: int = 4, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Clips with a bright spot of one colour per class anywhere on noise: N 3 T H W, classes N, masks bool N T H W."""
    draw = torch.Generator().manual_seed(seed)
    clips = torch.randn(n, 3, frames, size, size, generator=draw) * 0.3
    targets = torch.randint(classes, (n,), generator=draw)
    masks = torch.zeros(n, frames, size, size, dtype=torch.bool)
    spot = size // 4
    for i in range(n):
        top, left = torch.randint(size - spot + 1, (2,), generator=draw).tolist()
        masks[i, :, top : top + spot, left : left + spot] = True
        clips[i, targets[i], masks[i]] += 3.0
    return clips, targets, masks


def trained(classes: int = 3, steps: int = 120, seed: int = 0) -> Colour:
    """A `Colour` that tells the spots apart, in evaluation."""
    torch.manual_seed(seed)
    model = Colour(classes).train()
    learning = torch.optim.Adam(model.parameters(), 0.02)
    for step in range(steps):
        clips, targets, _ = spots(16, classes, seed=1000 + step)
        learning.zero_grad()
        nn.functional.cross_entropy(model(clips), targets).backward()
        learning.step()
    return model.eval()
