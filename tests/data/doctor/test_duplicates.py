from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kinema.data.doctor.duplicates import (
    FRAMES,
    SIDE,
    groups_of,
    is_blank,
    look,
    near_pairs,
    pictures_of,
    shared_scenes,
    stack_looks,
)
from kinema.puppets.actions import ACTIONS
from kinema.puppets.dataset import ClipJob, perform

CASES = Path(__file__).parents[3] / "shared" / "cases"


def slowly(frame: np.ndarray) -> np.ndarray | None:
    """A frame without its brightness and contrast, as a row of length 1; None where it shows nothing."""
    low, middle, high = np.percentile(frame, (15, 50, 85))
    if high - low < 6:
        return None
    row = np.clip((frame.ravel() - middle) / ((high - low) / 2), -2.5, 2.5)
    row -= row.mean()
    return row / np.linalg.norm(row)


def motion_of(rows: list[np.ndarray]) -> np.ndarray:
    return np.array(rows) - np.mean(rows, 0)


def are_near(a: np.ndarray, b: np.ndarray) -> bool:
    rows = [(slowly(x), slowly(y)) for x, y in zip(a, b, strict=True)]
    both = [(x, y) for x, y in rows if x is not None and y is not None]
    alike = [float(x @ y) for x, y in both]
    if len(both) < 3 or min(alike) < 0.7 or np.mean(alike) < 0.85:
        return False
    found = []
    for less in [None, *(range(len(both)) if len(both) > 3 else ())]:
        one, other = (motion_of([pair[side] for t, pair in enumerate(both) if t != less]) for side in (0, 1))
        found.append((one * other).sum() / max(np.sqrt((one**2).sum() * (other**2).sum()), 1e-12))
    moves = [np.sqrt((motion_of([pair[side] for pair in both]) ** 2).sum() / len(both)) for side in (0, 1)]
    contrast = [np.median([x.std() for x, row in zip(v, rows, strict=True) if row[side] is not None])
                for side, v in enumerate((a, b))]  # fmt: skip
    still = max(moves) * max(contrast) < 1
    return (found[0] >= 0.76 and min(found) >= 0.45) or (still and min(alike) >= 0.998)


def test_near_pairs_match_the_slow_rule() -> None:
    rng = np.random.default_rng(0)
    place = rng.integers(0, 256, (SIDE, SIDE))
    base = place + rng.normal(0, 12, (6, FRAMES, SIDE, SIDE)) * 4  # one place, six motions
    still = np.repeat(base[:3, :1], FRAMES, 1)
    looks = np.concatenate([base, still])[rng.integers(0, 9, 60)]
    looks = looks + rng.normal(0, 1, looks.shape) * rng.choice([0.1, 5, 25], (60, 1, 1, 1))
    looks *= rng.choice([0, 0.3, 1], (60, FRAMES, 1, 1), p=[0.15, 0.15, 0.7])  # black and dark frames
    looks = np.concatenate([looks, np.full((2, FRAMES, SIDE, SIDE), 9.0)]).astype(np.float32)
    groups = rng.integers(0, 3, len(looks))
    pairs = [(i, j) for i in range(62) for j in range(i + 1, 62) if groups[i] != groups[j]]
    expected = [(i, j) for i, j in pairs if are_near(looks[i], looks[j])]
    assert 10 < len(expected) < 400
    assert near_pairs(looks, groups) == expected
    assert is_blank(looks).tolist() == [False] * 60 + [True] * 2


def test_pairs_of_other_length_in_frames_and_in_seconds_are_no_copies() -> None:
    looks = np.random.default_rng(0).integers(0, 256, (1, FRAMES, SIDE, SIDE)).repeat(5, 0).astype(np.float32)
    lengths = np.array([(100, 4), (110, 4.4), (100, 8), (130, 4), (200, 8)], float)
    assert near_pairs(looks, np.arange(5), lengths) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 4)]


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
        (row,) = perform(ClipJob(str(tmp_path), 0, split, action, number, 112))
        looks.append(look(str(tmp_path / row["path"])))
    pictures = stack_looks(looks)
    assert whole_likeness(*pictures.mean(1)) > 0.85
    assert shared_scenes(pictures, np.arange(2)) == {}


# --- frames that say nothing


def film(seed: int, frames: int = 40, place: int | None = None) -> np.ndarray:
    """A light disc on its own way over a soft texture, in a given place in one of five directions: `T 72 96 3`."""
    rng = np.random.default_rng([seed if place is None else place, 1])
    coarse = torch.from_numpy(rng.integers(20, 200, (1, 1, 7, 9))).float()
    ground = torch.nn.functional.interpolate(coarse, (72, 96), mode="bicubic")[0, 0].numpy()
    start, end = np.random.default_rng([seed, 2]).uniform(0.15, 0.85, (2, 2)) * (72, 96)
    if place is not None:
        way = 28 * np.array([np.sin(seed * 0.4 * np.pi), np.cos(seed * 0.4 * np.pi)])
        start, end = np.subtract((36, 48), way), np.add((36, 48), way)
    y, x = np.mgrid[:72, :96]
    pictures = []
    for share in np.linspace(0, 1, frames):
        top, left = start + share * (end - start)
        pictures.append(np.where((y - top) ** 2 + (x - left) ** 2 < 120, 250, ground))
    return np.repeat(np.clip(pictures, 0, 255).astype(np.uint8)[..., None], 3, -1)


def seen(video: np.ndarray) -> np.ndarray:
    return pictures_of(lambda indices_of: torch.from_numpy(np.ascontiguousarray(video[indices_of(len(video))])))


def still(value: int, frames: int) -> np.ndarray:
    return np.full((frames, 72, 96, 3), value, np.uint8)


def with_bars(video: np.ndarray, axis: int, width: int) -> np.ndarray:
    video = np.moveaxis(video.copy(), axis, 0)
    video[:width] = video[-width:] = 0
    return np.moveaxis(video, 0, axis)


def faded(video: np.ndarray, length: int) -> np.ndarray:
    light = np.minimum(1, np.minimum(np.arange(len(video)), np.arange(len(video))[::-1]) / length)
    return (video * light[:, None, None, None]).astype(np.uint8)


def with_logo(video: np.ndarray) -> np.ndarray:
    video = video.copy()
    video[:, 4:12, 76:92] = 250
    return video


TITLE = np.where(np.random.default_rng(3).random((72, 24)) < 0.3, 240, 15).astype(np.uint8).repeat(4, 1)
TITLES = np.broadcast_to(TITLE[None, :, :, None], (5, 72, 96, 3))
CHANGES = {
    "nothing": lambda f: f,
    "black end": lambda f: np.concatenate([f, still(0, 5)]),
    "black at both ends": lambda f: np.concatenate([still(0, 8), f, still(0, 4)]),
    "white beginning": lambda f: np.concatenate([still(255, 6), f]),
    "grey ends": lambda f: np.concatenate([still(90, 3), f, still(90, 3)]),
    "mostly black": lambda f: np.concatenate([f[:12], still(0, 40)]),
    "fades": lambda f: faded(f, 12),
    "title": lambda f: np.concatenate([TITLES, f]),
    "title and end title": lambda f: np.concatenate([TITLES, f, TITLES[:, ::-1]]),
    "bars above and below": lambda f: with_bars(f, 1, 10),
    "bars at the sides": lambda f: with_bars(f, 2, 30),
    "a logo": with_logo,
    "a logo and a black end": lambda f: with_logo(np.concatenate([f, still(0, 6)])),
    "a logo on a dark film": lambda f: with_logo((f * 0.15).astype(np.uint8)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_all_clips_share_makes_no_duplicates_of_them(change: str) -> None:
    """30 places, and 5 motions in one place: none is near another, and no place is shared by two of the 30."""
    films = [CHANGES[change](film(i)) for i in range(30)] + [CHANGES[change](film(i, place=0)) for i in range(30, 35)]
    looks = np.array([seen(f) for f in films], np.float32)
    assert near_pairs(looks, np.arange(35)) == []
    assert shared_scenes(looks[:30], np.arange(30)) == {}


@pytest.mark.parametrize("change", [name for name in CHANGES if name != "mostly black"])
def test_copies_are_found_whatever_was_added(change: str) -> None:
    rng = np.random.default_rng(7)
    films = [CHANGES[change](film(i)) for i in range(20)]
    copies = []
    for f in films:  # half the size, noise as of a strong compression
        small = f[:, ::2, ::2].repeat(2, 1).repeat(2, 2) + rng.normal(0, 4, f.shape)
        copies.append(np.clip(small, 0, 255).astype(np.uint8))
    looks = np.array([seen(f) for f in films + copies], np.float32)
    found = near_pairs(looks, np.repeat((0, 1), 20))
    assert all(j == i + 20 for i, j in found)
    assert len(found) >= 19


def test_pictures_are_of_the_part_that_shows_something() -> None:
    f = film(1)
    plain = seen(f)
    for other in (
        np.concatenate([still(0, 20), f, still(0, 20)]),
        np.concatenate([f, still(255, 10)]),
        np.concatenate([TITLES[:3], f]),
    ):
        pictures = seen(other)
        assert pictures.std((1, 2)).min() > 5
        assert all(np.abs(pictures[t].astype(int) - plain[0]).mean() < 60 for t in range(FRAMES))
    assert (seen(still(0, 9)) == 0).all()


def test_the_two_that_end_in_black_are_two(tmp_path: Path) -> None:
    for name in ("fade_a.mp4", "fade_b.mp4"):
        if not (CASES / name).is_file():
            pytest.skip("the cases are not there")
    looks = stack_looks([look(str(CASES / name)) for name in ("fade_a.mp4", "fade_b.mp4")])
    assert near_pairs(looks, np.arange(2)) == []


def test_groups_of() -> None:
    assert groups_of({"a": "1", "b": "2", "c": "1", "d": "3"}) == [("a", "c")]
