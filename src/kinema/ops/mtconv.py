"""MTConv: a convolution whose channels are split into a local and a prolonged branch (MTConv, equations 1 to 4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.ops.arguments import ODD, Count, Range, Triple, checked
from kinema.ops.conv import Conv3d
from kinema.ops.pooling import Pooling, prolong

Split = Literal["text", "octave"]
Size = tuple[int, int, int]
Odd = Annotated[int, Range(1), ODD]
Share = Annotated[float, Range(0, 1, above=True)]

# Initial weight of the BatchNorms of the prolonged branch. They normalise few cells, at the end of a network one per
# clip. With 1, differences between whole clips, of which there are few kinds, would outweigh all others.
QUIET = 0.1


@checked
def branch_channels(channels: Count, delta: Share) -> tuple[int, int]:
    """Equation 1: channels of the local branch, floor(delta * channels), and of the prolonged branch, the rest.

    Raises:
        KinemaError: `delta` is not in (0, 1], or leaves no channel to the local branch.
    """
    local = math.floor(delta * channels + 1e-9)  # 2/3 of 54 is 36, whichever way 2/3 was rounded
    if local == 0:
        raise KinemaError(
            f"delta is {delta}: this leaves none of {channels} channels to the local branch; raise delta or width"
        )
    return local, channels - local


class ConvNorm(nn.Sequential):
    """Convolution, BatchNorm and by default ReLU; padded so that stride 1 keeps the size.

    The convolution has He initialisation by its inputs: by its few outputs, a prolonged branch would start too large.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: Size,
        stride: Size = (1, 1, 1),
        *,
        groups: int = 1,
        relu: bool = True,
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = Conv3d(channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_in", nonlinearity="relu")
        self.norm = nn.BatchNorm3d(out_channels)
        if relu:
            self.relu = nn.ReLU(inplace=True)


class MTConv(nn.Module):
    """Multi-temporal convolution: short patterns in a local branch, prolonged ones in a branch of half the size.

    With `split="text"`, the operator of the paper's equations, both branches see all channels of the input x:

        L  = g(x)                      C -> floor(delta C'), full size, carries the stride
        P1 = g(prolong(x))             C -> the other channels
        P2 = g(prolong(L)), pointwise  floor(delta C') -> the other channels
        output = concat(L, trilinear(P1 + P2 -> size of L))

    where each g is its own convolution, BatchNorm and ReLU. `prolong` halves time, height and width, and selects frames
    for x and for L independently.

    With `split="octave"`, the operator that the paper's complexity tables imply, the input is also split: the first
    delta of its channels go to L, the others, prolonged, to P1. There two frames become one, their mean. (The authors'
    released code does the same on two streams that it joins only at the end of the network.)

    With `delta=1` there is no prolonged branch: convolution, BatchNorm, ReLU.

    A channel-wise convolution (`groups` equal to both numbers of channels) cannot map all channels to some. There the
    local branch uses the first channels and the prolonged branch the others; P2 still uses all of L.

    The BatchNorms of the prolonged branch start with the weight 0.1, so that a network starts with its local branches
    (`benchmarks/mtconv_start.py`); the papers do not mention it.

    Args:
        channels: C.
        out_channels: C'.
        kernel: kernel of L and P1, in time, height and width, or one number for all; odd.
        stride: stride of L and P1, same form as `kernel`; if sizes still differ, P2 is resized to P1.
        delta: share of channels in the local branch, in (0, 1].
        split: `text` or `octave`.
        pooling: how the inputs of the prolonged branch are reduced, see `prolong` (table VIc).
        groups: groups of L and P1. Unless channel-wise, it must divide the channels of both branches.
        relu: apply ReLU at the end of both branches, as in the paper; False leaves it to the next layer.

    Attributes:
        halve: computes `prolong` in the copies that backends make; None calls `kinema.ops.pooling.prolong`.

    Source: MTConv, equations 1 to 4; thesis, section 6.4.1, for the pointwise kernel from L to P.
    """

    halve: Callable[[Tensor], Tensor] | None = None

    @checked
    def __init__(
        self,
        channels: Count,
        out_channels: Count,
        kernel: Odd | tuple[Odd, Odd, Odd],
        stride: Count | Triple = 1,
        *,
        delta: Share = 7 / 8,
        split: Split = "text",
        pooling: Pooling = "softpool+cosine",
        groups: Count = 1,
        relu: bool = True,
    ) -> None:
        super().__init__()
        kernel, stride = _triple(kernel), _triple(stride)
        local, rest = branch_channels(out_channels, delta)
        channelwise = groups == channels == out_channels > 1
        self.shared_out = split == "octave" or channelwise
        seen, seen_rest = branch_channels(channels, delta) if self.shared_out else (channels, channels)
        self.split, self.pooling, self.seen = split, pooling, seen
        for part in (seen, local, seen_rest, rest) if rest else (seen, local):
            if not channelwise and part % groups:
                raise KinemaError(
                    f"MTConv: groups is {groups}, which is not a divisor of the {part} channels of a branch; "
                    "change groups or delta"
                )
        self.local = ConvNorm(seen, local, kernel, stride, groups=local if channelwise else groups, relu=relu)
        self.prolonged: ConvNorm | None = None
        self.lateral: ConvNorm | None = None
        if rest:
            of_rest = rest if channelwise else groups
            self.prolonged = ConvNorm(seen_rest, rest, kernel, stride, groups=of_rest, relu=relu)
            self.lateral = ConvNorm(local, rest, (1, 1, 1), relu=relu)
            for branch in (self.prolonged, self.lateral):
                nn.init.constant_(branch.norm.weight, QUIET)

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T' H' W'."""
        if self.prolonged is None or self.lateral is None:
            return self.local(x)
        near, far = x.split([self.seen, x.shape[1] - self.seen], 1) if self.shared_out else (x, x)
        local = self.local(near)
        prolonged = self.prolonged(self._prolong(far))
        prolonged = prolonged + self.lateral(resize(self._prolong(local), prolonged.shape[2:]))
        return _laid_out(torch.cat([local, resize(prolonged, local.shape[2:])], 1))

    def _prolong(self, x: Tensor) -> Tensor:
        halved = prolong(x, self.pooling, self.training) if self.halve is None else self.halve(x)
        if self.split == "octave" and halved.shape[2] == x.shape[2] == 2:
            halved = halved.mean(2, keepdim=True)
        return _laid_out(halved)


def _laid_out(x: Tensor) -> Tensor:
    """Returns the same tensor; for exporters, which lay out poolings and joined tensors in another way, a copy."""
    return x.contiguous() if torch.compiler.is_compiling() else x


def _triple(value: int | Size) -> Size:
    t, h, w = value if isinstance(value, Sequence) else (value, value, value)
    return t, h, w


def resize(x: Tensor, size: torch.Size) -> Tensor:
    """Interpolates trilinearly to `T H W`; returns the same tensor if it has that size."""
    return x if x.shape[2:] == size else F.interpolate(x, size, mode="trilinear", align_corners=False)
