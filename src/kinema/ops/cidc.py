"""CIDC: a convolution over the steps of a clip that sees ever more of them, and the attention between scales.

Source: Li, Shuai and Tighe, Directional Temporal Modeling for Action Recognition, ECCV 2020.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.ops.arguments import Clips, Count, OddCount, checked
from kinema.ops.layout import fold_space, unfold_space
from kinema.ops.precision import full_precision, wide_dtype

Direction = Literal["bi", "uni", "none"]
Normalise = Literal["matrix", "row", "affine", "none"]
Mask = Literal["progressive", "bilinear"]

_SMALLEST_SPAN = 1e-4


def visibility(t_in: int, t_out: int, mask: Mask = "progressive", dtype: torch.dtype = torch.float32) -> Tensor:
    """How much of each input step an output step may look at; T' T in [0, 1], the first column is never 0.

    `progressive`: step t of T' sees the first ceil((t + 1) T / T') steps, so that the last one sees the whole clip.
    `bilinear`: the paper's rule, a T x T triangle whose rows are resized to T'. It is the same where T' = T; where T'
    is smaller its edge is soft, and from T / T' = 3 on the last steps of the clip are seen by nobody.
    """
    if mask == "progressive":
        seen = torch.tensor([-(-(t + 1) * t_in // t_out) for t in range(t_out)])
        return (torch.arange(t_in) < seen[:, None]).to(dtype)
    hidden = torch.ones(t_in, t_in, dtype=dtype).triu(1)[None, None]
    return 1 - F.interpolate(hidden, (t_out, t_in), mode="bilinear", align_corners=False)[0, 0]


def directional_kernels(k: Tensor, seen: Tensor, normalise: Normalise = "matrix") -> Tensor:
    """Equation 5 and the linear normalisation after it, in float32 or wider: C T' T and T' T -> C T' T.

    The softmax of each row runs over what the row may see (`seen` above 0; a share below 1 weighs it down); what it may
    not see is exactly 0 in the result. `matrix` scales all that a channel sees linearly to [-1, 1], as the text reads;
    the first row holds a single 1 there, so that long rows are pressed together near -1. `row` scales each row by
    itself, `affine` is 2 p - 1, `none` leaves the softmax, a weighted mean. Equal weights, which have no range that
    could be scaled, become 1; a range below 1e-4 is not stretched to the whole, or its gradient would have no bound.
    """
    with full_precision(k):
        wide = wide_dtype(k)
        seen = seen.to(wide)
        hidden = seen == 0
        weights = (k.to(wide) + seen.log()).softmax(2)  # the logarithm of 0 is the paper's -inf
        if normalise == "none":
            return weights
        if normalise == "affine":
            scaled = 2 * weights - 1
        else:
            over = (1, 2) if normalise == "matrix" else (2,)
            low = weights.masked_fill(hidden, 2).amin(over, keepdim=True)
            span = weights.amax(over, keepdim=True) - low
            flat = span == 0
            scaled = torch.where(flat, 1.0, 2 * (weights - low) / span.clamp_min(_SMALLEST_SPAN) - 1)
        return scaled.masked_fill(hidden, 0)


@checked
def spatial_attention(x: Clips) -> Tensor:
    """The sigmoid of the mean over the channels (equation 3); N C T H W -> N 1 T H W in (0, 1).

    It is what the paper draws over its pictures. Far from 0 the rounding of its dtype makes it 0 or 1.
    """
    return torch.sigmoid(x.mean(1, keepdim=True, dtype=wide_dtype(x))).to(x.dtype)


class DirectionalConv(nn.Module):
    """Channel-independent directional convolution (equations 1, 4, 5): every output step weighs the steps it may see.

    `y[c, t] = sum_s w[c, t, s] x[c, s]` at each position by itself, w from `directional_kernels`. The 1x1x1 convolution
    that follows in the paper's figure 2 is not part of it. N C T H W -> N C T' H W.

    With a `kernel_size` K above 1, which the paper allows and does not use (section 3.1), w has K x K weights for each
    s, and zeros stand outside the frames. What a step may see then is K x K times as much: softmax and normalisation
    run over all of it.

    A clip has T = `t_in` steps and no other number, as the kernels have: anything else is an error. Networks that take
    other clips resample their features.

    Args:
        channels: C.
        t_in: T.
        t_out: T' of the result, both directions together.
        direction: `uni`: step t does not see later steps than its own share of the clip. `bi`: the first ceil(T' / 2)
            steps are those of `uni`, the others the same with kernels of their own on the reversed clip, in its order:
            the last step, too, has seen all. With T' = 1 there is one step that sees all, and no second direction.
            `none`: every step sees all.
        normalise: of the kernels, see `directional_kernels`.
        mask: see `visibility`; without effect where the direction is `none`.
        kernel_size: K, height and width of the kernels.
    """

    seen: Tensor

    @checked
    def __init__(
        self,
        channels: Count,
        t_in: Count,
        t_out: Count,
        *,
        direction: Direction = "bi",
        normalise: Normalise = "matrix",
        mask: Mask = "progressive",
        kernel_size: OddCount = 1,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.t_in, self.normalise, self.mask = t_in, normalise, "progressive" if direction == "none" else mask
        self.steps: tuple[int, ...] = (t_out,)  # of each direction
        if direction == "bi" and t_out > 1:
            self.steps = (t_out - t_out // 2, t_out // 2)
        # The paper does not say how kernels start; equal ones would have nothing to be scaled by.
        space = () if kernel_size == 1 else (kernel_size, kernel_size)
        self.k = nn.Parameter(torch.randn(channels, t_out, t_in, *space))
        seen = [torch.ones(t, t_in) if direction == "none" else visibility(t_in, t, mask) for t in self.steps]
        self.register_buffer("seen", torch.cat(seen), persistent=False)

    def kernels(self) -> Tensor:
        """C T' T in float32 or wider, each row in the time of the clip, those of the second direction too.

        With a `kernel_size` K above 1 it is C T' T K K.
        """
        seen = self.seen
        if self.mask == "bilinear" and seen.dtype != torch.float32:  # fractions, which conversions have rounded
            wide = wide_dtype(self.k)
            seen = torch.cat([visibility(self.t_in, t, self.mask, wide) for t in self.steps]).to(self.k.device)
        pixels = self.kernel_size**2
        parts = [
            directional_kernels(k.flatten(2), part.repeat_interleave(pixels, 1), self.normalise).view(k.shape)
            for k, part in zip(self.k.split(self.steps, 1), seen.split(self.steps), strict=True)
        ]
        return torch.cat([parts[0], *(part.flip(2) for part in parts[1:])], 1)

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C T' H W."""
        if x.shape[2] != self.t_in:
            raise KinemaError(
                f"a directional convolution for {self.t_in} steps got {x.shape[2]}: give clips of the length that the "
                "network was built for, or build it with the frames of the clips (clip.frames)"
            )
        kernels = self.kernels().to(x.dtype)
        return combine(x, kernels) if self.kernel_size == 1 else combine_around(x, kernels)


def combine(x: Tensor, kernels: Tensor) -> Tensor:
    """`y[n, c, o] = sum_t kernels[c, o, t] x[n, c, t]`; N C T H W and C O T -> N C O H W.

    A grouped convolution or a batched product (`einsum`), as `benchmarks/cidc.py` measured them. On a CPU, in float32
    and bfloat16, each output step is a channel-wise convolution over time and all positions, for which nothing in
    channels_last_3d memory has to move: `einsum` takes 3 to 9 times as long at the sizes of a ResNet-50, and so does
    the paper's one convolution whose groups are the channels, each with its steps. Everywhere else it is `einsum`.
    """
    plain = torch.compiler.is_compiling() or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.bfloat16)
    return by_einsum(x, kernels) if plain else by_convolution(x, kernels)


def by_einsum(x: Tensor, kernels: Tensor) -> Tensor:
    """`combine` as one product for each channel."""
    return torch.einsum("cot,ncthw->ncohw", kernels, x)


def by_convolution(x: Tensor, kernels: Tensor) -> Tensor:
    """`combine` as one channel-wise convolution of Tx1 on `N C T (H W)` for each output step."""
    _, c, t, h, w = x.shape
    rows = fold_space(x)
    steps = [F.conv2d(rows, kernel.reshape(c, 1, t, 1), groups=c) for kernel in kernels.unbind(1)]
    return unfold_space(torch.cat(steps, 2), h, w)


def combine_around(x: Tensor, kernels: Tensor) -> Tensor:
    """`combine` with K x K weights for each step; N C T H W and C O T K K -> N C O H W, zeros outside the frames.

    The paper's one convolution whose groups are the channels, each with its steps. It needs the steps of a channel
    beside each other, so that the clip is copied out of channels_last_3d memory, and the result back into it.
    """
    n, c, t, h, w = x.shape
    y = F.conv2d(x.reshape(n, c * t, h, w), kernels.flatten(0, 1), padding=kernels.shape[-1] // 2, groups=c)
    return y.view(n, c, -1, h, w).contiguous(memory_format=torch.channels_last_3d)
