"""A self-check that compares the 3-D convolutions of a library with a slow reference in float64.

Some releases of libraries computed them incorrectly for certain kernels, numbers of channels or precisions.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.backends.base import Backend, convolutions_of, precision_of

_CHANNELS, _SHAPE = 24, (2, 3, 4, 9, 9)  # not a multiple of 16, the size of a vector
# Largest difference relative to the largest value, per precision.
_ALLOWED = {"float32": 1e-4, "bfloat16": 0.03, "int8": 0.1}
# Kernel, stride, groups.
_CASES = (
    ((3, 3, 3), (1, 1, 1), 1),
    ((3, 3, 3), (2, 2, 2), 1),
    ((1, 3, 3), (1, 2, 2), 1),
    ((3, 1, 1), (1, 1, 1), 1),
    ((1, 1, 1), (1, 1, 1), 1),
    ((3, 3, 3), (1, 1, 1), _CHANNELS),
    ((5, 1, 1), (1, 1, 1), _CHANNELS),
    ((3, 3, 3), (1, 1, 1), 4),
)


class _Convolutions(nn.Module):
    """Returns the concatenated outputs of all cases; N 3 T H W -> N K."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv3d(
                _CHANNELS,
                _CHANNELS,
                kernel,
                stride,
                (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2),
                groups=groups,
                bias=False,
            )
            for kernel, stride, groups in _CASES
        )
        noise = torch.Generator().manual_seed(0)
        for conv in self.convs:
            assert isinstance(conv, nn.Conv3d)
            conv.weight.data = torch.randn(conv.weight.shape, generator=noise)

    def forward(self, x: Tensor) -> Tensor:
        x = x.repeat(1, _CHANNELS // 3, 1, 1, 1).contiguous(memory_format=torch.channels_last_3d)
        return torch.cat([conv(x).flatten(1) for conv in self.convs], 1)


def convolution_faults(backend: Backend, device: str = "cpu") -> list[str]:
    """Returns the 3-D convolutions that a backend gets wrong, such as `kernel 3x3x3, stride 1x1x1, 24 groups`.

    Args:
        backend: the backend to check. If it takes only some networks, its `convolutions` is checked instead.
        device: device of its runner.

    Raises:
        KinemaError: the backend cannot run them at all.
    """
    network = _Convolutions().eval()
    clips = torch.randn(_SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        there = network.to(device)
        found = convolutions_of(backend).build(there, clips.to(device), [clips])(clips.to(device)).cpu().double()
    wide = clips.double().repeat(1, _CHANNELS // 3, 1, 1, 1)
    faults, place = [], 0
    for conv, (kernel, stride, groups) in zip(network.cpu().convs, _CASES, strict=True):
        assert isinstance(conv, nn.Conv3d)
        expected = slow_convolution(wide, conv.weight.detach().double(), stride, groups)
        part = found[:, place : place + expected[0].numel()].view_as(expected)
        place += expected[0].numel()
        if not float((part - expected).abs().max() / expected.abs().max()) < _ALLOWED[precision_of(backend)]:
            sizes = ("x".join(map(str, of)) for of in (kernel, stride))
            faults.append("kernel {}, stride {}, {} groups".format(*sizes, groups))
    return faults


def slow_convolution(x: Tensor, weight: Tensor, stride: tuple[int, int, int], groups: int) -> Tensor:
    """Computes a 3-D convolution padded by half a kernel, as a sum of products over the positions of the kernel.

    Args:
        x: N C T H W.
        weight: C' C/groups K K K.
        stride: strides of time, height and width.
        groups: divides C and C'.
    """
    kernel = weight.shape[2:]
    n, _, *size = x.shape
    x = F.pad(x, [k // 2 for k in reversed(kernel) for _ in range(2)])
    last = [(s - 1) // step + 1 for s, step in zip(size, stride, strict=True)]
    y = x.new_zeros(n, groups, len(weight) // groups, *last)
    weight = weight.unflatten(0, (groups, -1))
    for place in product(*map(range, kernel)):
        cut = [slice(p, p + step * count, step) for p, step, count in zip(place, stride, last, strict=True)]
        seen = x[:, :, cut[0], cut[1], cut[2]].unflatten(1, (groups, -1))
        y += torch.einsum("goi,ngithw->ngothw", weight[..., place[0], place[1], place[2]], seen)
    return y.flatten(1, 2)
