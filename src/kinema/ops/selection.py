"""Temporal triplet cosine frame selection: keeps the frames that differ most from their neighbours (MTConv)."""

from __future__ import annotations

import torch
from torch import Tensor

from kinema.errors import KinemaError
from kinema.ops.arguments import Clips, Count, Sequences, checked
from kinema.ops.precision import mean_per_frame, widen

# Scores are compared in steps of 2^-18, or 3.8e-6.
_STEPS = 2.0**18


@checked
def triplet_scores(v: Sequences) -> Tensor:
    """Computes the similarity of each interior frame to the previous and the next one: the sum of the two cosines.

    Computed in float32 at least, and only from directions: any positive scale of a frame gives the same result. A frame
    of zeros has cosine 0 with everything.

    Args:
        v: N C T, one vector per frame.

    Returns:
        N T-2, in [-2, 2]; entry i belongs to frame i + 1, because the first and the last frame have no triplet.

    Raises:
        KinemaError: `v` is not N C T, or T is below 3.

    Source: MTConv, equations 6 and 7.
    """
    if v.shape[2] < 3:
        raise KinemaError(f"triplet_scores: v has shape {tuple(v.shape)}; give N C T with at least 3 frames")
    v = widen(v.transpose(1, 2)).contiguous()  # N T C: sums over the last dimension have smaller rounding errors
    smallest = torch.finfo(v.dtype).tiny
    v = v / v.abs().amax(2, keepdim=True).clamp_min(smallest)  # avoids underflow and overflow of squares
    v = v / torch.linalg.vector_norm(v, dim=2, keepdim=True).clamp_min(smallest)
    cosines = (v[:, :-1] * v[:, 1:]).sum(2)  # N T-1
    return cosines[:, :-1] + cosines[:, 1:]


@checked
def select_frames(x: Clips, keep: Count) -> tuple[Tensor, Tensor]:
    """Keeps the `keep` frames with the lowest triplet scores of each clip, in temporal order.

    Scores are computed from the spatial mean of each frame (the paper's sum has the same direction). The first and the
    last frame are never kept; of equal scores, the earlier frame is kept. Scores are rounded to multiples of 2^-18,
    more than their rounding errors, so that equal frames have equal scores in every runtime. Every channel keeps the
    same frames, every clip its own. No gradient passes through the choice.

    Args:
        x: N C T H W.
        keep: number of frames to keep, 1 to T - 2.

    Returns:
        The frames, N C keep H W, in `channels_last_3d` memory unless compiled, and their indices, int64 N keep,
        ascending.

    Raises:
        KinemaError: `keep` is out of range.

    Source: MTConv, equation 7 and figure 3.
    """
    n, c, t, h, w = x.shape
    if keep > t - 2:
        raise KinemaError(
            f"select_frames: keep is {keep} of {t} frames, but only T - 2 have two neighbours; give longer clips "
            "or keep fewer frames"
        )
    # Without `no_grad`: each would divide an exported graph, which takes minutes with a hundred of them.
    scores = triplet_scores(mean_per_frame(x.detach()))
    # Scores and positions in one integer, because not every runtime keeps the order of equal values.
    ranks = (scores * _STEPS).round().long() * t + torch.arange(t - 2, device=x.device)
    indices = 1 + ranks.argsort(dim=1, stable=True)[..., :keep].sort(1).values
    if torch.compiler.is_compiling():  # an exporter may lay out memory in another way
        return x.gather(2, indices.view(n, 1, keep, 1, 1).expand(n, c, keep, h, w)), indices
    rows = indices + t * torch.arange(n, device=x.device)[:, None]
    # Copies whole frames at once: in channels_last_3d memory, the frames of all clips are the rows of one matrix.
    frames = x.permute(0, 2, 3, 4, 1).reshape(n * t, h, w, c).index_select(0, rows.flatten())
    return frames.view(n, keep, h, w, c).permute(0, 4, 1, 2, 3), indices
