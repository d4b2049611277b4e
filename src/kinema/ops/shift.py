"""The temporal shift of TSM."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from kinema.errors import KinemaError
from kinema.ops.arguments import Clips, Count, Range, checked
from kinema.ops.streaming import Stream

# Both directions together shift at most all channels.
Fold = Annotated[int, Range(2)]


@checked
def temporal_shift(x: Clips, fold: Count = 8, causal: bool = False) -> Tensor:
    """Shifts one part of the channels by one frame, so that the next 2-D convolution sees the neighbouring frames.

    The first C // fold channels of frame t come from frame t + 1, the next C // fold from frame t - 1, and the rest
    stay; values from outside the clip are zero. With `causal`, only the first C // fold channels are shifted, and they
    come from t - 1: no frame depends on a later one.

    Args:
        x: N C T H W.
        fold: reciprocal of the shifted share of channels, per direction, at least 2, or at least 1 with `causal`; with
            fewer than `fold` channels, nothing is shifted.
        causal: shift only from earlier frames.

    Returns:
        The same shape and dtype.

    Raises:
        KinemaError: an argument is out of range.

    Source: Lin et al., TSM: Temporal Shift Module for Efficient Video Understanding, ICCV 2019, section 3.
    """
    if fold == 1 and not causal:
        raise KinemaError(
            "temporal_shift: fold is 1; give an integer of at least 2, because two parts of the channels are shifted"
        )
    c = x.shape[1] // fold
    if c == 0:
        return x
    later, earlier = x[:, :c, 1:], x[:, :c, :-1]
    edge = torch.zeros_like(x[:, :c, :1])
    if causal:
        return torch.cat([torch.cat([edge, earlier], 2), x[:, c:]], 1)
    earlier = x[:, c : 2 * c, :-1]
    return torch.cat([torch.cat([later, edge], 2), torch.cat([edge, earlier], 2), x[:, 2 * c :]], 1)


class Shift(torch.nn.Module):
    """`temporal_shift` as a module; N C T H W -> the same.

    Args:
        fold: see `temporal_shift`.
        causal: see `temporal_shift`.
    """

    def __init__(self, fold: int = 8, causal: bool = False) -> None:
        super().__init__()
        self.fold, self.causal = fold, causal

    @property
    def look_ahead(self) -> int:
        """Number of later frames that it uses."""
        return 0 if self.causal else 1

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """N C T H W -> the same; for a chunk of a stream without `causal`, the frames with indices one less."""
        if stream is None:
            return temporal_shift(x, self.fold, self.causal)
        frames = x.shape[2]
        whole = stream.extended(self, stream.masked(x), 1 + self.look_ahead)
        stream.lag += self.look_ahead
        return temporal_shift(whole, self.fold, self.causal)[:, :, 1 : 1 + frames]
