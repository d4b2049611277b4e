"""The temporal adaptive module (TAM) of TANet: a temporal kernel that is computed from each clip.

Source: Liu et al., TAM: Temporal Adaptive Module for Video Recognition, ICCV 2021 (arXiv 2005.06803), section 3.1. The
module with the same abbreviation by Fan et al. (More Is Less, NeurIPS 2019, bLVNet-TAM) is different: it sums shifted
frames with trained weights per channel that are the same for every clip.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.ops.arguments import Count, OddCount, checked
from kinema.ops.precision import mean


class TAM(nn.Module):
    """Weights every frame of a channel, then aggregates neighbouring frames with a kernel computed from the clip.

    Both branches use the clip averaged over space, s[c, t]. The local branch gives the importance of each frame,
    `a = sigmoid(conv1(relu(bn(conv3(s)))))`, with a temporal convolution of 3 that maps C channels to C / beta. The
    global branch gives a kernel per channel, `k[c] = softmax(W2 relu(bn(W1 s[c])))`, with W1 from T to alpha T. Then
    `y[c, t] = sum_i k[c, i] (a x)[c, t + i - K // 2]`, zeros outside the clip. N C T H W -> N C T H W.

    W1 has as many inputs as a clip has frames: for a clip of another length, s is interpolated to T = `frames` for the
    global branch. The local branch and the aggregation accept any length.

    Args:
        channels: C.
        frames: T, number of frames for which the global branch is built.
        kernel_size: K, size of the adaptive kernel.
        alpha: hidden width of the global branch over T.
        beta: ratio of C to the hidden channels of the local branch, which has at least one.

    Raises:
        KinemaError: an argument is out of range, or clips have another number of channels.
    """

    @checked
    def __init__(
        self, channels: Count, frames: Count, *, kernel_size: OddCount = 3, alpha: Count = 2, beta: Count = 4
    ) -> None:
        super().__init__()
        self.channels, self.frames, self.kernel_size = channels, frames, kernel_size
        inner = max(1, channels // beta)
        self.weigh = nn.Sequential(
            nn.Conv1d(channels, inner, 3, padding=1, bias=False),
            nn.BatchNorm1d(inner),
            nn.ReLU(inplace=True),
            nn.Conv1d(inner, channels, 1, bias=False),
            nn.Sigmoid(),
        )
        self.kernel = nn.Sequential(
            nn.Linear(frames, alpha * frames, bias=False),
            nn.BatchNorm1d(alpha * frames),
            nn.ReLU(inplace=True),
            nn.Linear(alpha * frames, kernel_size, bias=False),
            nn.Softmax(-1),
        )
        for module in self.modules():  # initialised as in mmaction2: the kernels are nearly the mean of K frames
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.001)

    def kernels(self, pooled: Tensor) -> Tensor:
        """Computes the kernel of each channel: s N C T -> N C K, each row with the sum 1."""
        n, c, t = pooled.shape
        if t != self.frames:
            pooled = F.interpolate(pooled, self.frames, mode="linear", align_corners=False)
        found: Tensor = self.kernel(pooled.reshape(n * c, self.frames))
        return found.view(n, c, self.kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C T H W."""
        if x.ndim != 5 or x.shape[1] != self.channels:
            raise KinemaError(f"TAM: x has shape {tuple(x.shape)}; give N {self.channels} T H W")
        pooled = mean(x, (3, 4))
        weighed = x * self.weigh(pooled)[..., None, None]
        kernels = self.kernels(pooled)[..., None, None, None].unbind(2)
        frames, half = x.shape[2], self.kernel_size // 2
        padded = F.pad(weighed, (0, 0, 0, 0, half, half))
        total = kernels[0] * padded[:, :, :frames]
        for i, kernel in enumerate(kernels[1:], 1):
            total = torch.addcmul(total, kernel, padded[:, :, i : i + frames])
        return total
