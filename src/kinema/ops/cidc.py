"""CIDC: a convolution over the steps of a clip that uses more steps at each output step, and spatial attention.

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
    """Returns the weight with which an output step may use each input step; T' T in [0, 1], first column never 0.

    `progressive`: step t of T' uses the first ceil((t + 1) T / T') steps, so that the last one uses the whole clip.
    `bilinear`: the paper's rule, a T x T triangle whose rows are resized to T'. It is the same if T' = T. If T' is
    smaller, its edge is soft, and for T / T' of at least 3 the last steps of the clip are not used at all.
    """
    if mask == "progressive":
        seen = torch.tensor([-(-(t + 1) * t_in // t_out) for t in range(t_out)])
        return (torch.arange(t_in) < seen[:, None]).to(dtype)
    hidden = torch.ones(t_in, t_in, dtype=dtype).triu(1)[None, None]
    return 1 - F.interpolate(hidden, (t_out, t_in), mode="bilinear", align_corners=False)[0, 0]


def directional_kernels(k: Tensor, seen: Tensor, normalise: Normalise = "matrix") -> Tensor:
    """Equation 5 and the linear normalisation after it, in float32 or wider: C T' T and T' T -> C T' T.

    The softmax of each row runs over the steps that the row may use (`seen` above 0; a value below 1 reduces their
    weight); all others are exactly 0 in the result. `matrix` scales all values of a channel linearly to [-1, 1], as the
    text says; since the first row is a single 1, the values of long rows are close together near -1. `row` scales each
    row separately, `affine` is 2 p - 1, `none` keeps the softmax, a weighted mean. Equal weights have no range to scale
    and become 1; a range below 1e-4 is not scaled to the full range, because its gradient would be unbounded.
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
    """Computes the sigmoid of the mean over the channels (equation 3); N C T H W -> N 1 T H W in (0, 1).

    The paper draws it over its pictures. Far from 0, rounding makes it exactly 0 or 1.
    """
    return torch.sigmoid(x.mean(1, keepdim=True, dtype=wide_dtype(x))).to(x.dtype)


class DirectionalConv(nn.Module):
    """Channel-independent directional convolution (equations 1, 4, 5): an output step weights the steps it may use.

    `y[c, t] = sum_s w[c, t, s] x[c, s]` at each position separately, with w from `directional_kernels`. The 1x1x1
    convolution after it in the paper's figure 2 is not included. N C T H W -> N C T' H W.

    With a `kernel_size` K above 1, which the paper allows but does not use (section 3.1), w has K x K weights for each
    s, with zeros outside the frames. A step then uses K x K times as many values; softmax and normalisation run over
    all of them.

    A clip must have T = `t_in` steps, because the kernels do: other clips are an error. Networks that accept other
    clips resample their features.

    Args:
        channels: C.
        t_in: T.
        t_out: T' of the result, for both directions together.
        direction: `uni`: step t does not use steps after its own part of the clip. `bi`: the first ceil(T' / 2) steps
            are those of `uni`; the others are the same with other kernels on the reversed clip, in its order, so that
            their last step has also used the whole clip. With T' = 1, one step uses all and there is no second
            direction. `none`: every step uses all steps.
        normalise: normalisation of the kernels, see `directional_kernels`.
        mask: see `visibility`; no effect if the direction is `none`.
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
        self.steps: tuple[int, ...] = (t_out,)  # per direction
        if direction == "bi" and t_out > 1:
            self.steps = (t_out - t_out // 2, t_out // 2)
        # The paper does not give the initial kernels; equal ones could not be scaled.
        space = () if kernel_size == 1 else (kernel_size, kernel_size)
        self.k = nn.Parameter(torch.randn(channels, t_out, t_in, *space))
        seen = [torch.ones(t, t_in) if direction == "none" else visibility(t_in, t, mask) for t in self.steps]
        self.register_buffer("seen", torch.cat(seen), persistent=False)

    def kernels(self) -> Tensor:
        """C T' T in float32 or wider; each row is in the time of the clip, also for the second direction.

        With a `kernel_size` K above 1, it is C T' T K K.
        """
        seen = self.seen
        if self.mask == "bilinear" and seen.dtype != torch.float32:  # fractions, which a conversion has rounded
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
                f"a directional convolution for {self.t_in} steps received {x.shape[2]}: give clips of the length that "
                "the network was built for, or build it with the frames of the clips (clip.frames)"
            )
        kernels = self.kernels().to(x.dtype)
        return combine(x, kernels) if self.kernel_size == 1 else combine_around(x, kernels)


def combine(x: Tensor, kernels: Tensor) -> Tensor:
    """`y[n, c, o] = sum_t kernels[c, o, t] x[n, c, t]`; N C T H W and C O T -> N C O H W.

    A grouped convolution or a batched product (`einsum`), chosen by the measurements of `benchmarks/cidc.py`. On a CPU,
    in float32 and bfloat16, each output step is a channel-wise convolution over time and all positions, which moves no
    data in channels_last_3d memory: `einsum` takes 3 to 9 times as long at the sizes of a ResNet-50, and so does the
    paper's single convolution whose groups are the channels, each with its steps. All other cases use `einsum`.
    """
    plain = torch.compiler.is_compiling() or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.bfloat16)
    return by_einsum(x, kernels) if plain else by_convolution(x, kernels)


def by_einsum(x: Tensor, kernels: Tensor) -> Tensor:
    """Computes `combine` as one product per channel."""
    return torch.einsum("cot,ncthw->ncohw", kernels, x)


def by_convolution(x: Tensor, kernels: Tensor) -> Tensor:
    """Computes `combine` as one channel-wise convolution of Tx1 on `N C T (H W)` per output step."""
    _, c, t, h, w = x.shape
    rows = fold_space(x)
    steps = [F.conv2d(rows, kernel.reshape(c, 1, t, 1), groups=c) for kernel in kernels.unbind(1)]
    return unfold_space(torch.cat(steps, 2), h, w)


def combine_around(x: Tensor, kernels: Tensor) -> Tensor:
    """Computes `combine` with K x K weights per step; N C T H W and C O T K K -> N C O H W, zeros outside the frames.

    This is the paper's single convolution whose groups are the channels, each with its steps. It needs the steps of a
    channel next to each other, so that the clip is copied out of channels_last_3d memory, and the result back into it.
    """
    n, c, t, h, w = x.shape
    y = F.conv2d(x.reshape(n, c * t, h, w), kernels.flatten(0, 1), padding=kernels.shape[-1] // 2, groups=c)
    return y.view(n, c, -1, h, w).contiguous(memory_format=torch.channels_last_3d)
