"""The temporal shift and the folding of time."""

from __future__ import annotations

import pytest
import torch

from kinema.errors import KinemaError
from kinema.ops import temporal_shift
from kinema.ops.layout import check_clips, fold_time, unfold_time


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("channels", [16, 17, 4])
def test_shift_by_hand(causal: bool, channels: int) -> None:
    x = torch.arange(1, 1 + 2 * channels * 3, dtype=torch.float32).view(2, channels, 3, 1, 1)
    moved = channels // 8
    expected = x.clone()
    for c in range(channels):
        for t in range(3):
            source = t
            if c < moved:
                source = t - 1 if causal else t + 1
            elif c < 2 * moved and not causal:
                source = t - 1
            expected[:, c, t] = x[:, c, source] if 0 <= source < 3 else 0
    assert torch.equal(temporal_shift(x, 8, causal), expected)


def test_static_clip_changes_at_its_ends_only() -> None:
    x = torch.ones(1, 8, 4, 2, 2)
    shifted = temporal_shift(x, 4)
    assert torch.equal(shifted[:, :, 1:3], x[:, :, 1:3])
    assert not torch.equal(shifted[:, :, 0], x[:, :, 0])


def test_fold_is_clip_major_and_unfold_undoes_it() -> None:
    x = torch.randn(2, 3, 4, 5, 6)
    folded = fold_time(x)
    assert torch.equal(folded[1 * 4 + 2], x[1, :, 2])
    assert torch.equal(unfold_time(folded, 4), x)


def test_fold_is_free_in_channels_last_memory() -> None:
    x = torch.randn(2, 3, 4, 5, 6).contiguous(memory_format=torch.channels_last_3d)
    folded = fold_time(x)
    assert folded.data_ptr() == x.data_ptr()
    assert folded.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(2, 4, 8, 16, 16), (3, 8, 16, 16)])
def test_what_is_not_a_clip_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(KinemaError, match="shape"):
        check_clips(torch.zeros(shape))
