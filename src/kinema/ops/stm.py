"""The two modules of STM: channel-wise spatio-temporal features (CSTM) and channel-wise motion (CMM).

Source: STM journal version, sections 3.1 to 3.3. If the paper does not say, the default is stated with each option.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.ops.arguments import Count, Range, checked
from kinema.ops.conv import Conv2d, conv3d, temporal_conv
from kinema.ops.layout import fold_time, unfold_time
from kinema.ops.streaming import Stream

TemporalInit = Literal["shift", "identity", "random", "degenerate"]
Connection = Literal["depthwise", "ordinary"]
Motion = Literal["depthwise", "ordinary", "degenerate"]
StrideAt = Literal["difference", "reduce"]


class CSTM(nn.Module):
    """Temporal convolution of each channel separately, then a 3x3 convolution of each frame (equation 1).

    `G[c, t] = sum_i K[c, i] F[c, t + i]` with i in -1, 0, 1 and zeros outside the clip, then Conv2d 3x3.
    Input N C T H W, output N C' T H' W' with H' = ceil(H / stride).

    Args:
        channels: C.
        out_channels: C'.
        stride: stride of the 3x3 convolution.
        init: initial temporal kernels (the paper does not say). `shift`: an eighth of the channels uses t + 1, the next
            eighth t - 1, the rest t, which is exactly TSM. `identity`: all use t, which is exactly the 2-D network.
            `random`: the default of PyTorch. `degenerate`: [0, 1, 1] * `low_scale`, fixed, the low frequency of
            equation 7 (table 8). The 3x3 convolution has He initialisation (fan-out).
        temporal: `depthwise` as in the paper, or `ordinary`, which mixes all channels (table 10).
        spatial: `ordinary` as in the paper or `depthwise` (table 10).
        causal: use only t - 1 and t, so that no frame depends on a later one.
        low_scale: factor of the degenerate kernel, above 0; 1 is equation 7, 0.5 keeps the size of the activations.

    Raises:
        KinemaError: an argument is out of range.
    """

    @checked
    def __init__(
        self,
        channels: Count,
        out_channels: Count,
        stride: Count = 1,
        *,
        init: TemporalInit = "shift",
        temporal: Connection = "depthwise",
        spatial: Connection = "ordinary",
        causal: bool = False,
        low_scale: Annotated[float, Range(0, above=True)] = 1.0,
    ) -> None:
        super().__init__()
        if spatial == "depthwise" and out_channels % channels:
            raise KinemaError(
                f"CSTM: out_channels is {out_channels}; spatial='depthwise' needs a multiple of channels ({channels})"
            )
        self.causal = causal
        kernel_size = 2 if causal else 3
        groups = channels if temporal == "depthwise" else 1
        self.t = nn.Conv1d(channels, channels, kernel_size, groups=groups, bias=False)
        self.conv = Conv2d(
            channels, out_channels, 3, stride, 1, bias=False, groups=channels if spatial == "depthwise" else 1
        )
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        if init != "random":
            with torch.no_grad():
                self.t.weight.copy_(self._start(init, groups, low_scale))
        if init == "degenerate":
            self.t.register_buffer("fixed", self.t.weight.detach().clone())
            del self.t.weight
            self.t.register_parameter("weight", None)

    def _start(self, init: TemporalInit, groups: int, low_scale: float) -> Tensor:
        """Makes the kernels `C C/groups kernel_size` for `init`."""
        weight = torch.zeros(self.t.weight.shape)
        channels, _, kernel_size = weight.shape
        now = 1  # the kernel index of frame t: the middle of three, the last of two
        own = torch.arange(channels)
        column = torch.zeros_like(own) if groups == channels else own
        tap = torch.full_like(own, now)
        eighth = channels // 8
        if init == "shift":
            if self.causal:
                tap[:eighth] = now - 1
            else:
                tap[:eighth], tap[eighth : 2 * eighth] = now + 1, now - 1
        weight[own, column, tap] = 1.0
        if init == "degenerate":
            weight[own, column, (now + 1) % kernel_size] = 1.0  # t + 1, or t - 1 for a causal kernel
            weight *= low_scale
        return weight

    @property
    def kernel(self) -> Tensor:
        """The temporal kernels, `C 1 kernel_size` (depthwise) or `C C kernel_size` (ordinary)."""
        return self.t.fixed if self.t.weight is None else self.t.weight

    @property
    def look_ahead(self) -> int:
        """Number of later frames that it uses."""
        return 0 if self.causal else 1

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """N C T H W -> N C' T H' W'; for a chunk of a stream without `causal`, the frames with indices one less."""
        if stream is not None and self.causal and self.t.groups > 1:
            return unfold_time(self.conv(fold_time(self._behind(stream.masked(x), stream))), x.shape[2])
        if stream is not None:
            x, padding = stream.extended(self, stream.masked(x), 1 + self.look_ahead), 0
            stream.lag += self.look_ahead
        elif self.causal:
            x, padding = F.pad(x, (0, 0, 0, 0, 1, 0)), 0
        else:
            padding = 1
        if self.t.groups == 1:
            x = conv3d(x, self.kernel[:, :, :, None, None], padding)
        else:  # in channels_last_3d memory without a permutation to N H W, C, T and without a copy
            x = temporal_conv(x, self.kernel, padding)
        return unfold_time(self.conv(fold_time(x)), x.shape[2])

    def _behind(self, x: Tensor, stream: Stream) -> Tensor:
        """Applies the causal temporal kernel to a chunk, without the copies that a convolution of few frames needs."""
        before, now = self.kernel.to(x.dtype)[:, 0, :, None, None, None].unbind(1)
        return torch.addcmul(x * now, stream.previous(self, x), before)


class CMM(nn.Module):
    """Motion as the difference of neighbouring feature maps, one of them shifted by a learned kernel (equation 2).

    Reduce 1x1 (C -> C / reduction) and BatchNorm, `H[t] = F[t] - K * F[t + 1]` with a 3x3 kernel shared by all t, zeros
    for the last frame, restore 1x1 (-> C'). Input N C T H W, output N C' T H' W' with H' = ceil(H / stride).

    Args:
        channels: C.
        out_channels: C'.
        stride: spatial stride; the paper does not say where it is applied, see `stride_at`.
        reduction: r in the paper; at least one channel stays.
        motion: `depthwise` as in the paper, `ordinary` (table 10), or `degenerate`: the plain difference with a fixed
            kernel, the high frequency of equation 7 (table 8).
        causal: `H[t] = F[t - 1] - K * F[t]`, zeros for the first frame: the same motion, one frame later.
        stride_at: `difference`: motion at full resolution, then average pooling; `reduce`: stride in the first 1x1.
        zero_restore: the restoring 1x1 starts at zero, so that the block starts as its CSTM; False keeps PyTorch's
            default. The reducing 1x1 has He initialisation (fan-out), the 3x3 starts as the plain difference.

    Raises:
        KinemaError: an argument is out of range.
    """

    @checked
    def __init__(
        self,
        channels: Count,
        out_channels: Count,
        stride: Count = 1,
        *,
        reduction: Count = 16,
        motion: Motion = "depthwise",
        causal: bool = False,
        stride_at: StrideAt = "difference",
        zero_restore: bool = True,
    ) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.causal = causal
        self.pool = stride if stride_at == "difference" else 1
        self.reduce = Conv2d(channels, inner, 1, stride if stride_at == "reduce" else 1, bias=False)
        nn.init.kaiming_normal_(self.reduce.weight, mode="fan_out", nonlinearity="relu")
        self.bn = nn.BatchNorm2d(inner)
        self.dw: Conv2d | None = None
        if motion != "degenerate":
            self.dw = Conv2d(inner, inner, 3, 1, 1, bias=False, groups=inner if motion == "depthwise" else 1)
            with torch.no_grad():  # a centre delta: the plain difference at the start
                own = torch.arange(inner)
                self.dw.weight.zero_()[own, own if motion == "ordinary" else 0, 1, 1] = 1.0
        self.restore = Conv2d(inner, out_channels, 1, bias=False)
        if zero_restore:
            nn.init.zeros_(self.restore.weight)

    @property
    def look_ahead(self) -> int:
        """Number of later frames that it uses."""
        return 0 if self.causal else 1

    def motion(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Computes motion before the stride and the restoring convolution: N C T H W -> N C/r T H W."""
        t = x.shape[2]
        f = self.bn(self.reduce(fold_time(x)))
        moved = unfold_time(f if self.dw is None else self.dw(f), t)
        f = unfold_time(f, t)
        if stream is not None:
            return self._motion_of_stream(f, moved, stream)
        difference = f[:, :, :-1] - moved[:, :, 1:]
        edge = torch.zeros_like(f[:, :, :1])
        return torch.cat([edge, difference] if self.causal else [difference, edge], 2)

    def _motion_of_stream(self, f: Tensor, moved: Tensor, stream: Stream) -> Tensor:
        """Each frame's difference from the previous one; without `causal` it belongs to the earlier one."""
        difference = stream.previous(self, f) - moved
        if self.causal:
            return stream.masked(difference, ahead=-1)
        stream.lag += 1
        return stream.masked(difference, ahead=1)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """N C T H W -> N C' T H' W'; for a chunk of a stream without `causal`, the frames with indices one less."""
        h = fold_time(self.motion(x, stream))
        if self.pool > 1:  # a last odd row or column averages only existing pixels
            h = F.avg_pool2d(h, self.pool, ceil_mode=True, count_include_pad=False)
        return unfold_time(self.restore(h), x.shape[2])
