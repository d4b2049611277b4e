"""Triplet cosine frame selection against loops (MTConv, equations 6 and 7)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from kinema.errors import KinemaError
from kinema.ops import select_frames, triplet_scores


def clip(n: int = 3, c: int = 8, t: int = 10, h: int = 4, w: int = 5, seed: int = 0) -> Tensor:
    made = torch.randn(n, c, t, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made.contiguous(memory_format=torch.channels_last_3d)


def cosine(a: Tensor, b: Tensor) -> float:
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    lengths = [math.sqrt(sum(float(x) ** 2 for x in v)) for v in (a, b)]
    return dot / (lengths[0] * lengths[1]) if min(lengths) > 0 else 0.0


def slow_indices(x: Tensor, keep: int) -> list[list[int]]:
    """Clip by clip, frame by frame; the sum over positions, as printed in the paper."""
    found = []
    for sample in x:
        v = sample.sum((2, 3)).T
        scores = [(cosine(v[t - 1], v[t]) + cosine(v[t], v[t + 1]), t) for t in range(1, len(v) - 1)]
        found.append(sorted(t for _, t in sorted(scores)[:keep]))
    return found


def alike(t: int, different: tuple[int, ...]) -> Tensor:
    """One clip whose frames are all the same but those given, each of which is like no other."""
    x = torch.zeros(1, 12, t, 2, 2)
    x[:, 0] = 1
    for channel, frame in enumerate(different, 1):
        x[:, 0, frame] = 0
        x[:, channel, frame] = 1
    return x


def test_scores_are_the_sums_of_two_cosines() -> None:
    v = clip().sum((3, 4))
    for sample, scores in zip(v, triplet_scores(v), strict=True):
        slow = [cosine(sample[:, t - 1], sample[:, t]) + cosine(sample[:, t], sample[:, t + 1]) for t in range(1, 9)]
        torch.testing.assert_close(scores, torch.tensor(slow, dtype=torch.float64))


@pytest.mark.parametrize("t", [3, 4, 13, 16])
def test_selection_is_that_of_the_loops(t: int) -> None:
    x = clip(t=t)
    frames, indices = select_frames(x, t // 2)
    assert indices.tolist() == slow_indices(x, t // 2)
    assert frames.shape == (3, 8, t // 2, 4, 5)
    assert frames.is_contiguous(memory_format=torch.channels_last_3d)
    for n in range(3):
        assert torch.equal(frames[n], x[n][:, indices[n]])
    assert indices.min() >= 1
    assert indices.max() <= t - 2
    assert (indices.diff(dim=1) > 0).all()


def test_the_odd_frame_and_its_neighbours_are_kept() -> None:
    assert {3, 4, 5} <= set(select_frames(alike(8, (4,)), 4)[1][0].tolist())
    assert select_frames(alike(10, (2, 5, 8)), 3)[1].tolist() == [[2, 5, 8]]


def test_of_equal_frames_the_earlier_are_kept() -> None:
    assert select_frames(torch.ones(2, 3, 8, 2, 2), 4)[1].tolist() == [[1, 2, 3, 4]] * 2


def test_frames_that_stand_still_are_equal_in_every_scene() -> None:
    """Scores of 2 differ by rounding errors, which must not decide; only the two frames at the cut have lower ones."""
    for seed in range(50):
        x = torch.randn(1, 64, 2, 3, 3, generator=torch.Generator().manual_seed(seed)).repeat_interleave(6, 2)
        assert select_frames(x, 4)[1].tolist() == [[1, 2, 5, 6]]


def test_frames_that_differ_in_scale_only_are_equal() -> None:
    for channels in (1, 3, 50, 864):
        generator = torch.Generator().manual_seed(channels)
        x = torch.randn(20, channels, 1, 1, 1, generator=generator) * torch.rand(20, 1, 16, 1, 1, generator=generator)
        assert select_frames(x, 8)[1].tolist() == [list(range(1, 9))] * 20


def test_opposite_frames_are_different_not_alike() -> None:
    """Squared cosines, as in the authors' code, would call them the same."""
    x = torch.ones(1, 4, 7, 1, 1)
    x[:, :, 3] = -1
    assert 3 in select_frames(x, 1)[1][0].tolist()
    assert triplet_scores(x[..., 0, 0])[0, 2] == -2


def test_selection_follows_reversal() -> None:
    x = clip(t=9)
    forwards, backwards = select_frames(x, 4)[1], select_frames(x.flip(2), 4)[1]
    assert torch.equal(backwards, (8 - forwards).flip(1))


def test_selection_ignores_scale_and_place() -> None:
    x = clip()
    indices = select_frames(x, 5)[1]
    for scale in (1e-30, 1e-3, 1e4, 1e30):
        assert torch.equal(select_frames((x * scale).float(), 5)[1], indices)
    shuffled = x.flatten(3)[..., torch.randperm(20)].unflatten(3, (4, 5))
    assert torch.equal(select_frames(shuffled, 5)[1], indices)
    assert torch.equal(select_frames(x.contiguous(), 5)[0], select_frames(x, 5)[0])


def test_clips_of_a_batch_do_not_meet() -> None:
    x = clip()
    frames, indices = select_frames(x, 5)
    alone, one = select_frames(x[1:2], 5)
    assert torch.equal(indices[1:2], one)
    assert torch.equal(frames[1:2], alone)


def test_gradient_reaches_the_kept_frames_only() -> None:
    x = clip().requires_grad_()
    frames, indices = select_frames(x, 5)
    (gradient,) = torch.autograd.grad(frames.sum(), x)
    for n in range(3):
        kept = set(indices[n].tolist())
        for t in range(10):
            assert (gradient[n, :, t] == float(t in kept)).all()


def test_a_frame_of_zeros_is_like_no_other() -> None:
    x = torch.ones(1, 4, 6, 2, 2)
    x[:, :, 3] = 0
    assert triplet_scores(x[..., 0, 0]).tolist()[0] == pytest.approx([2, 1, 0, 1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_neither_overflows_nor_vanishes(dtype: torch.dtype) -> None:
    x = clip(c=512, t=6, h=1, w=1)
    for scale in (500, 1e-3):
        v = (x * scale).to(dtype)
        torch.testing.assert_close(
            triplet_scores(v[..., 0, 0]).double(), triplet_scores(v[..., 0, 0].double()), rtol=0, atol=1e-4
        )
    assert select_frames((x * 500).to(dtype), 3)[0].dtype == dtype


@pytest.mark.parametrize(("t", "keep"), [(2, 1), (1, 0), (5, 4), (5, 0)])
def test_too_few_frames_is_one_sentence(t: int, keep: int) -> None:
    with pytest.raises(KinemaError, match=f"select_frames: keep is {keep}"):
        select_frames(clip(t=t), keep)


def test_triplets_need_three_frames() -> None:
    with pytest.raises(KinemaError, match="at least 3 frames"):
        triplet_scores(torch.ones(1, 4, 2))
