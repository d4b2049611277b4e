"""The pointing game: the position of a map's maximum and the share of its mass, compared with known masks.

Source: Zhang et al., Top-down neural attention by excitation backprop, ECCV 2016; here also over time.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kinema.errors import KinemaError

_TOLERANCE = 16  # the default tolerance is the shorter side divided by this


def default_tolerance(height: int, width: int) -> int:
    """Returns the largest distance of a hit from the mask: 1/16 of the shorter side (15 of 240 pixels in the paper)."""
    return min(height, width) // _TOLERANCE


def pointing_hits(maps: Tensor, masks: Tensor, tolerance: int | None = None) -> Tensor:
    """Checks whether the maximum of each map is on its mask, in the frame of the maximum.

    Args:
        maps: N T H W. For a map with several equal maxima, the result is the share of them that hit.
        masks: bool N T H W.
        tolerance: largest distance of a hit from the mask in pixels along both axes; None is `default_tolerance`.

    Returns:
        float32 N in [0, 1]; NaN if the mask of a clip is empty.

    Raises:
        KinemaError: the shapes differ, or the tolerance is below 0.
    """
    check_masks(maps, masks)
    reach = default_tolerance(*maps.shape[2:]) if tolerance is None else tolerance
    if reach < 0:
        raise KinemaError(f"tolerance is {reach} pixels: give 0 or more")
    near = F.max_pool2d(masks.float(), 2 * reach + 1, 1, reach) > 0
    flat = maps.flatten(1)
    top = flat == flat.amax(1, keepdim=True)
    hits = (top & near.flatten(1)).sum(1) / top.sum(1)
    return torch.where(masks.flatten(1).any(1), hits, torch.nan)


def mass_on_mask(maps: Tensor, masks: Tensor) -> Tensor:
    """Returns the share of the mass of each map that is on its mask.

    Args:
        maps: N T H W, not negative. A map that is zero everywhere counts as a constant map.
        masks: bool N T H W.

    Returns:
        float32 N in [0, 1]; NaN if the mask of a clip is empty.

    Raises:
        KinemaError: the shapes differ, or a map has negative values.
    """
    check_masks(maps, masks)
    if (maps < 0).any():
        raise KinemaError("maps contains values below 0: give values of at least 0")
    flat = maps.flatten(1).double()
    flat = torch.where(flat.sum(1, keepdim=True) > 0, flat, 1.0)
    share = (flat * masks.flatten(1)).sum(1) / flat.sum(1)
    return torch.where(masks.flatten(1).any(1), share, torch.nan).float()


def check_masks(maps: Tensor, masks: Tensor) -> None:
    """Rejects masks that do not match maps.

    Raises:
        KinemaError: they are not bool, or have another shape than the maps.
    """
    if masks.shape != maps.shape or masks.dtype != torch.bool:
        raise KinemaError(
            f"masks is {masks.dtype} of shape {tuple(masks.shape)}: give bool N T H W as maps, {tuple(maps.shape)}"
        )
