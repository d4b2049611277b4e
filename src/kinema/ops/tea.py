"""The two modules of TEA: motion excitation (ME) and multiple temporal aggregation (MTA).

Source: Li et al., TEA: Temporal Excitation and Aggregation for Action Recognition, CVPR 2020, sections 3.1 and 3.2. If
the authors' code (Phoenix1327/tea-action-recognition, ops/tea50_8f.py) differs, it is followed, as stated below.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.ops.arguments import Count, checked
from kinema.ops.conv import Conv2d, temporal_conv
from kinema.ops.layout import fold_time, unfold_time
from kinema.ops.precision import mean


class MotionExcitation(nn.Module):
    """Scales the channels of each frame by the motion in them until the next frame; N C T H W -> the same.

    Reduce 1x1 (C -> C / r) and BatchNorm, `m[t] = K * f[t + 1] - f[t]` with a channel-wise 3x3 kernel, zeros for the
    last frame, the mean over space, restore 1x1 (-> C) and BatchNorm. The result is `x + x (sigmoid(m) - 1/2)`: the
    paper writes `2 sigmoid - 1`, the code has half of it, and this follows the code.

    Args:
        channels: C.
        reduction: r; at least one channel stays.

    Raises:
        KinemaError: an argument is out of range.
    """

    @checked
    def __init__(self, channels: Count, *, reduction: Count = 16) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.reduce = Conv2d(channels, inner, 1, bias=False)
        self.norm = nn.BatchNorm2d(inner)
        self.move = Conv2d(inner, inner, 3, 1, 1, groups=inner, bias=False)
        self.restore = Conv2d(inner, channels, 1, bias=False)
        self.restore_norm = nn.BatchNorm2d(channels)
        for conv in (self.reduce, self.move, self.restore):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def excitation(self, x: Tensor) -> Tensor:
        """Computes the factor of each channel and frame; N C T H W -> N C T 1 1, in (1/2, 3/2)."""
        frames = x.shape[2]
        f = self.norm(self.reduce(fold_time(x)))
        moved, f = unfold_time(self.move(f), frames), unfold_time(f, frames)
        motion = mean(moved[:, :, 1:] - f[:, :, :-1], (3, 4), keepdim=True)
        motion = F.pad(motion, (0, 0, 0, 0, 0, 1))
        y = self.restore_norm(self.restore(fold_time(motion)))
        return unfold_time(torch.sigmoid(y), frames) + 0.5

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> the same."""
        return x * self.excitation(x)


class MTA(nn.Module):
    """Temporal and spatial convolutions of groups of channels; each group also uses the result of the previous one.

    The channels are split into groups. Each except the last goes through a channel-wise temporal convolution of 3, a
    3x3 convolution, BatchNorm and ReLU, together with the result of the previous group, so that the last of them covers
    `groups - 1` frames to each side. The last group has only the temporal convolution. In the paper, it is the first
    group that is left out, and it has no convolution; this follows the code.

    N C T H W -> N C T H' W' with H' = ceil(H / stride).

    Args:
        channels: C, a multiple of `groups`.
        stride: stride of the 3x3 convolutions.
        groups: 2 or more; called the scale in Res2Net, from which the structure comes.
        chained: each group uses the result of the previous one; the first block of a stage, whose groups change size,
            has False, and a 3x3 average pooling of its last group.
        temporal: False omits the temporal convolutions, which gives Res2Net.

    Raises:
        KinemaError: an argument is out of range, chained groups have a stride, or the channels cannot be split.
    """

    @checked
    def __init__(
        self, channels: Count, stride: Count = 1, *, groups: Count = 4, chained: bool = True, temporal: bool = True
    ) -> None:
        super().__init__()
        if groups < 2 or channels % groups:
            raise KinemaError(f"MTA: groups is {groups}; give a divisor of the {channels} channels, at least 2")
        if chained and stride > 1:
            raise KinemaError(f"MTA: stride is {stride}; chained groups keep their size, so give 1 or chained=False")
        self.groups, self.chained = groups, chained
        self.pool = None if chained else nn.AvgPool2d(3, stride, 1)
        size = channels // groups
        convs = [Conv2d(size, size, 3, stride, 1, bias=False) for _ in range(groups - 1)]
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) for _ in range(groups - 1))
        self.t = nn.ParameterList(nn.Parameter(torch.zeros(size, 1, 3)) for _ in range(groups if temporal else 0))
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        with torch.no_grad():
            for kernel in self.t:
                kernel[:, 0, 1] = 1.0
            if temporal:  # the last group starts as a shift of half its channels in each direction
                half = size // 2
                self.t[-1][: 2 * half] = 0.0
                self.t[-1][:half, 0, 2] = self.t[-1][half : 2 * half, 0, 0] = 1.0

    def over_time(self, x: Tensor, group: int) -> Tensor:
        """Applies the temporal convolution of a group; N C T H W -> the same."""
        return temporal_conv(x, self.t[group], 1) if self.t else x

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C T H' W'."""
        frames, parts = x.shape[2], x.chunk(self.groups, 1)
        results: list[Tensor] = []
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            part = parts[i] + results[-1] if self.chained and results else parts[i]
            y = norm(conv(fold_time(self.over_time(part, i))))
            results.append(unfold_time(torch.relu(y), frames))
        last = self.over_time(parts[-1], self.groups - 1)
        results.append(last if self.pool is None else unfold_time(self.pool(fold_time(last)), frames))
        return torch.cat(results, 1)
