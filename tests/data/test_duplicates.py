from __future__ import annotations

from pathlib import Path

import numpy as np

from kinema.data.duplicates import FRAMES, SIDE, groups_of, is_blank, look, near_pairs, shared_scenes, stack_looks
from kinema.data.puppets.actions import ACTIONS
from kinema.data.puppets.dataset import Job, perform


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
    inside = [[2 <= y < SIDE - 2 and 2 <= x < SIDE - 2 for x in range(SIDE)] for y in range(SIDE)]
    y, x = np.divmod(np.arange(SIDE * SIDE), SIDE)
    halves = [y < 6, y >= 6, x < 6, x >= 6]
    expected = {}
    for i in range(60):
        others = []
        for j in range(60):
            like = [np.corrcoef(fine[i][part], fine[j][part])[0, 1] for part in (*halves, ~np.ravel(inside))]
            alike = np.corrcoef(fine[i], fine[j])[0, 1]
            if groups[i] != groups[j] and alike >= 0.85 and min(like[:4]) >= 0.6 and like[4] >= 0.75:
                others.append((alike, j))
        if others:
            expected[i] = max(others)[1]
    assert 5 < len(expected) < 60
    assert shared_scenes(looks, groups) == expected


def place(top: int, bottom: int) -> np.ndarray:
    """A picture of strong texture, whose halves are drawn from two seeds."""
    halves = [np.random.default_rng(seed).integers(0, 256, (SIDE // 2, SIDE)) for seed in (top, bottom)]
    return np.concatenate(halves).astype(np.float32)


def test_a_scene_is_shared_only_if_all_its_parts_are() -> None:
    one, other = place(1, 2), place(3, 2)
    other[:6] = 128 + 0.2 * (other[:6] - 128)  # a faint half: as a whole the two are alike
    one[:6] = 128 + 0.2 * (one[:6] - 128)
    blank = one.copy()
    blank[:6] = 128
    both_blank = blank + 0.1 * np.random.default_rng(4).normal(size=(SIDE, SIDE))
    for first, second, shared in [
        (one, one, True),
        (one, other, False),
        (one, blank, False),
        (blank, both_blank, True),
    ]:
        looks = np.repeat(np.array([first, second], np.float32)[:, None], FRAMES, 1)
        assert whole_likeness(first, second) > 0.85
        assert (shared_scenes(looks, np.arange(2)) == {0: 1, 1: 0}) is shared


def whole_likeness(first: np.ndarray, second: np.ndarray) -> float:
    fine = []
    for picture in (first, second):
        padded = np.pad(picture, 1, mode="edge")
        around = np.mean([padded[y : y + SIDE, x : x + SIDE] for y in range(3) for x in range(3)], 0)
        fine.append((picture - around).ravel())
    return float(np.corrcoef(*fine)[0, 1])


def test_two_puppets_before_two_walls_are_no_shared_scene(tmp_path: Path) -> None:
    """The two of the 1824 clips of the demo that look most alike: both stand still in the same place and wave arms."""
    looks = []
    for split, label, number in (("test", "wave", 4), ("train", "clap", 68)):
        (tmp_path / split / label).mkdir(parents=True)
        action = next(i for i, a in enumerate(ACTIONS) if a.label == label)
        (row,) = perform(Job(str(tmp_path), 0, split, action, number, 112))
        looks.append(look(str(tmp_path / row["path"])))
    pictures = stack_looks(looks)
    assert whole_likeness(*pictures.mean(1)) > 0.85
    assert shared_scenes(pictures, np.arange(2)) == {}


def test_groups_of() -> None:
    assert groups_of({"a": "1", "b": "2", "c": "1", "d": "3"}) == [("a", "c")]
