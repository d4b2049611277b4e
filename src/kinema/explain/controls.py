"""Maps that are independent of the network, as controls that a method has to beat."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_CENTRE = 4  # the standard deviation of the centre bias is the shorter side divided by this
_GRAIN = (2, 16, 16)  # frames and pixels of a blob of the random map


def random_maps(shape: tuple[int, int, int, int], seed: int = 0) -> Tensor:
    """Returns noise as coarse as a saliency map: blobs of 2 frames and 16 x 16 pixels, or a quarter of a smaller side.

    Noise of single voxels would not be a fair control: deleting them adds high frequencies all over the clip, which
    affect a network more than deleting the same number of voxels in one place.

    Args:
        shape: N T H W.
        seed: seed of the noise.

    Returns:
        float32 N T H W in [0, 1].
    """
    noise = torch.Generator().manual_seed(seed)
    sizes = [max(1, -(-size // min(grain, max(1, size // 4)))) for size, grain in zip(shape[1:], _GRAIN, strict=True)]
    coarse = torch.rand((shape[0], 1, *sizes), generator=noise)
    return F.interpolate(coarse, shape[1:], mode="trilinear", align_corners=False)[:, 0]


def centre_maps(shape: tuple[int, int, int, int]) -> Tensor:
    """Returns a Gaussian spot in the centre of every frame, with a standard deviation of 1/4 of the shorter side.

    Args:
        shape: N T H W.

    Returns:
        float32 N T H W in (0, 1].
    """
    height, width = shape[2:]
    deviation = min(height, width) / _CENTRE
    rows, columns = (torch.exp(-((torch.arange(n) - (n - 1) / 2) ** 2) / (2 * deviation**2)) for n in (height, width))
    return (rows[:, None] * columns).expand(shape).contiguous()
