from __future__ import annotations

import numpy as np

from kinema.data.duplicates import FRAMES, SIDE, groups_of, is_blank, near_pairs, shared_scenes


def test_near_pairs_match_the_slow_rule() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (6, FRAMES, SIDE, SIDE))
    still = np.repeat(base[:3, :1], FRAMES, 1)  # no motion at all
    noisy = np.concatenate([base, still])[rng.integers(0, 9, 40)] + rng.normal(0, 40, (40, 1, 1, 1))
    noisy = noisy + rng.normal(0, 1, noisy.shape) * rng.choice([0.1, 5, 60], (40, 1, 1, 1))
    looks = np.concatenate([noisy, np.full((2, FRAMES, SIDE, SIDE), 9.0)]).astype(np.float32)
    groups = rng.integers(0, 3, len(looks))
    expected = []
    for i in range(len(looks)):
        for j in range(i + 1, len(looks)):
            a, b = looks[i], looks[j]
            if groups[i] == groups[j] or min(a.std(), b.std()) < 1:
                continue
            picture = np.corrcoef(a.ravel(), b.ravel())[0, 1]
            moves = [x - x.mean(0) for x in (a, b)]
            calm = max(np.sqrt((m**2).mean()) for m in moves) < 1
            motion = (moves[0] * moves[1]).sum() / max(np.sqrt((moves[0] ** 2).sum() * (moves[1] ** 2).sum()), 1e-9)
            if (picture >= 0.9 and motion >= 0.75) or (calm and picture >= 0.998):
                expected.append((i, j))
    assert 10 < len(expected) < 200
    assert near_pairs(looks, groups) == expected
    assert is_blank(looks).tolist() == [False] * 40 + [True] * 2


def test_near_pairs_of_many_videos_are_found_in_blocks() -> None:
    rng = np.random.default_rng(0)
    looks = rng.integers(0, 256, (2500, FRAMES, SIDE, SIDE)).astype(np.float32)
    looks[2400] = looks[3]
    looks[1500] = looks[1200]
    assert near_pairs(looks, np.arange(2500)) == [(3, 2400), (1200, 1500)]


def test_shared_scenes_match_the_slow_rule() -> None:
    rng = np.random.default_rng(0)
    places = rng.integers(0, 256, (8, 1, SIDE, SIDE))
    looks = places[rng.integers(0, 8, 60)] + rng.normal(0, 60, (60, FRAMES, SIDE, SIDE))
    looks = np.concatenate([looks, np.full((2, FRAMES, SIDE, SIDE), 9.0)]).astype(np.float32)
    groups = rng.integers(0, 2, len(looks))
    fine = []
    for mean in looks.mean(1):
        rows = [
            [(max(y - 1, 0), y, min(y + 1, SIDE - 1)), (max(x - 1, 0), x, min(x + 1, SIDE - 1))]
            for y in range(SIDE)
            for x in range(SIDE)
        ]
        fine.append(mean.ravel() - [np.mean([mean[y, x] for y in ys for x in xs]) for ys, xs in rows])
    expected = {}
    for i in range(60):
        others = [(np.corrcoef(fine[i], fine[j])[0, 1], j) for j in range(60) if groups[i] != groups[j]]
        if max(others)[0] >= 0.85:
            expected[i] = max(others)[1]
    assert 5 < len(expected) < 60
    assert shared_scenes(looks, groups) == expected


def test_groups_of() -> None:
    assert groups_of({"a": "1", "b": "2", "c": "1", "d": "3"}) == [("a", "c")]
