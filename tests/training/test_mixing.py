"""Mixup and class-balanced orders against their definitions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kinema.training.mixing import balanced_order, mixup


def batch(n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(n, 3, 2, 4, 4, generator=generator).contiguous(memory_format=torch.channels_last_3d)
    return clips, torch.tensor([0, 2, 1, 2, 0])[:n]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_mixup_takes_a_share_of_each_clip_and_of_its_partner(smoothing: float) -> None:
    clips, labels = batch()
    before = clips.clone()
    mixed, targets = mixup(clips, labels, 4, 0.8, smoothing, np.random.default_rng(7))
    again = np.random.default_rng(7)
    share, partner = again.beta(0.8, 0.8), again.permutation(5)
    assert 0.01 < share < 0.99
    assert sorted(partner) != list(partner)
    for i in range(5):
        torch.testing.assert_close(mixed[i], share * before[i] + (1 - share) * before[partner[i]])
        expected = torch.full((4,), smoothing / 4)
        expected[labels[i]] += (1 - smoothing) * share
        expected[labels[partner[i]]] += (1 - smoothing) * (1 - share)
        torch.testing.assert_close(targets[i], expected)
    assert mixed is clips
    assert mixed.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(targets.sum(1), torch.ones(5))


def test_without_mixup_clips_are_left_and_the_targets_give_the_loss_of_label_smoothing() -> None:
    clips, labels = batch()
    before, logits = clips.clone(), torch.randn(5, 4)
    mixed, targets = mixup(clips, labels, 4, 0.0, 0.1, np.random.default_rng(0))
    assert torch.equal(mixed, before)
    expected = F.cross_entropy(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(F.cross_entropy(logits, targets), expected)


def test_two_views_are_mixed_alike_and_a_clip_alone_is_left() -> None:
    (a, labels), (b, _) = batch(), batch()
    mixup(a, labels, 3, 0.4, 0.0, np.random.default_rng(1))
    mixup(b, labels, 3, 0.4, 0.0, np.random.default_rng(1))
    assert torch.equal(a, b)
    alone, label = batch(1)
    mixed, targets = mixup(alone.clone(), label, 3, 0.4, 0.0, np.random.default_rng(1))
    assert torch.equal(mixed, alone)
    assert targets.tolist() == [[1, 0, 0]]


def test_balanced_every_class_comes_equally_often_and_its_clips_in_turn() -> None:
    targets = [0] * 50 + [3] * 7 + [1] * 2
    order = balanced_order(targets, 61, np.random.default_rng(0))
    assert order.dtype == np.int64
    classes = Counter(targets[i] for i in order)
    assert sorted(classes.values()) == [20, 20, 21]
    for label in (0, 1, 3):
        clips = Counter(int(i) for i in order if targets[i] == label)
        own = targets.count(label)
        assert max(clips.values()) - (min(clips.values()) if len(clips) == own else 0) <= 1
        assert len(clips) == min(own, classes[label])
    assert len({targets[i] for i in order[:15]}) == 3  # shuffled, not class after class


def test_balanced_orders_follow_the_seed_and_the_class_with_one_more_changes() -> None:
    targets = np.array([0, 0, 0, 1, 2])
    draws = [balanced_order(targets, 4, np.random.default_rng(seed)) for seed in range(40)]
    assert np.array_equal(draws[3], balanced_order(targets, 4, np.random.default_rng(3)))
    favoured = {Counter(targets[d].tolist()).most_common(1)[0][0] for d in draws}
    assert favoured == {0, 1, 2}
    assert len({tuple(d) for d in draws}) > 20
    assert balanced_order(targets, 0, np.random.default_rng(0)).tolist() == []
