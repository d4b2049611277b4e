"""Folds time or space away and back: free views if clips are in `channels_last_3d` memory (N T H W C)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kinema.errors import KinemaError


def check_clips(x: Tensor, channels: int = 3) -> Tensor:
    """Returns `x` if it is a batch of clips `N channels T H W`; otherwise `KinemaError` says what it is."""
    if x.ndim != 5:
        raise KinemaError(f"a network takes clips of shape N {channels} T H W, but this has shape {tuple(x.shape)}")
    if x.shape[1] != channels:
        raise KinemaError(
            f"a network takes clips with {channels} channels at position 1 (N C T H W), but this has {x.shape[1]}, in "
            f"shape {tuple(x.shape)}"
        )
    return x


def fold_time(x: Tensor) -> Tensor:
    """`N C T H W` -> `(N T) C H W`, clip-major (`index = n * T + t`); a copy, if it needs one, is channels-last."""
    n, c, t, h, w = x.shape
    return x.permute(0, 2, 3, 4, 1).reshape(n * t, h, w, c).permute(0, 3, 1, 2)


def unfold_time(x: Tensor, frames: int) -> Tensor:
    """`(N T) C H W` -> `N C T H W` with T = `frames`; the inverse of `fold_time`."""
    nt, c, h, w = x.shape
    return x.view(nt // frames, frames, c, h, w).transpose(1, 2)


def fold_space(x: Tensor) -> Tensor:
    """`N C T H W` -> `N C T (H W)`, on which a 2-D convolution of Kx1 covers time."""
    n, c, t, h, w = x.shape
    return x.permute(0, 2, 3, 4, 1).reshape(n, t, h * w, c).permute(0, 3, 1, 2)


def unfold_space(x: Tensor, height: int, width: int) -> Tensor:
    """`N C T (H W)` -> `N C T H W`; the inverse of `fold_space`."""
    return x.permute(0, 2, 3, 1).unflatten(2, (height, width)).permute(0, 4, 1, 2, 3)


def channels_last(module: nn.Module) -> None:
    """Changes the kernels of all convolutions to the channels-last layout, in place.

    `module.to(memory_format=...)` supports one number of dimensions and fails if 2-D and 3-D kernels are mixed.

    Args:
        module: its parameters with 4 dimensions get `channels_last`, those with 5 `channels_last_3d`.
    """
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in module.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.to(memory_format=formats[parameter.ndim])


def stored_pixels(x: Tensor) -> Tensor:
    """`N C H W` -> `N H W C`, contiguous. A compiler stores it in this order, because of `as_strided`.

    Without it, the compiler computes the values again wherever a view reads them, or stores them in another order.
    """
    pixels = x.permute(0, 2, 3, 1).contiguous()
    return pixels.as_strided(pixels.shape, pixels.stride())


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after for ceil(size / stride) positions; TensorFlow's rule, the odd one goes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
