from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.clip_spec import ClipSpec
from kinema.data import transforms
from kinema.data.transforms import Augment, Box, cut, random_box, to_input
from kinema.errors import KinemaError

view_boxes = transforms.test_boxes  # under its own name pytest would collect it

SPEC = ClipSpec(short_side=256, crop=224)


def noise(frames: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (frames, height, width, 3), dtype=np.uint8))


def inside(box: Box, height: int, width: int) -> bool:
    return (
        box.top >= 0
        and box.left >= 0
        and box.height >= 1
        and box.width >= 1
        and box.top + box.height <= height
        and box.left + box.width <= width
    )


def triangles(source: int, target: int) -> np.ndarray:
    """Weights of antialiased linear resizing, float64 `target source`: a triangle of two source steps or wider."""
    scale = source / target
    centres = (np.arange(target) + 0.5) * scale
    distance = abs(np.arange(source) + 0.5 - centres[:, None])
    weights = np.maximum(0, 1 - distance / max(scale, 1))
    return weights / weights.sum(1, keepdims=True)


augments = st.builds(
    Augment,
    scale=st.sampled_from(["fixed", "jitter", "corners"]),
    jitter=st.sampled_from([(256, 320), (224, 224), (256, 480)]),
    more_fix=st.booleans(),
)


@given(st.integers(1, 700), st.integers(1, 700), augments, st.integers(1, 256), st.integers(0, 999))
@settings(max_examples=400, deadline=None)
def test_boxes_lie_in_the_frame(height: int, width: int, augment: Augment, test_crop: int, seed: int) -> None:
    box = random_box(height, width, SPEC, augment, np.random.default_rng(seed))
    assert inside(box, height, width)
    assert box == random_box(height, width, SPEC, augment, np.random.default_rng(seed))
    for crops in (1, 3):
        boxes = view_boxes(height, width, SPEC.replace(test_crop=test_crop), crops)
        assert len(boxes) == crops
        assert all(inside(b, height, width) and b.height == b.width for b in boxes)


def test_fixed_and_centre_boxes_by_hand() -> None:
    # 340 x 256: the short side is 256 already, so a 224 crop is 224 source pixels
    assert view_boxes(256, 340, SPEC, 1) == [Box(16, 58, 224, 224)]
    assert view_boxes(256, 340, SPEC, 3) == [Box(16, 0, 224, 224), Box(16, 58, 224, 224), Box(16, 116, 224, 224)]
    # portrait, twice as large: 448 of 512 source pixels, places along the height
    assert view_boxes(1000, 512, SPEC, 3) == [Box(top, 32, 448, 448) for top in (0, 276, 552)]
    # testing on the whole short side
    assert view_boxes(128, 200, SPEC.replace(test_crop=256), 3) == [Box(0, x, 128, 128) for x in (0, 36, 72)]
    rng = np.random.default_rng(0)
    drawn = [random_box(256, 340, SPEC, Augment("fixed"), rng) for _ in range(600)]
    assert {(b.height, b.width) for b in drawn} == {(224, 224)}
    assert {b.top for b in drawn} == set(range(33))
    assert (min(b.left for b in drawn), max(b.left for b in drawn)) == (0, 116)


def test_jitter_draws_every_short_side() -> None:
    spec, rng = ClipSpec(short_side=10, crop=8), np.random.default_rng(0)
    augment = Augment("jitter", jitter=(10, 16))
    sides = {random_box(160, 200, spec, augment, rng).height for _ in range(400)}
    assert sides == {round(160 * 8 / s) for s in range(10, 17)}


@pytest.mark.parametrize("more", [False, True])
def test_corner_crops_are_those_of_tsn(more: bool) -> None:
    rng = np.random.default_rng(0)
    boxes = [random_box(100, 140, SPEC, Augment("corners", more_fix=more), rng) for _ in range(5000)]
    scales = [100, 88, 75, 66]
    pairs = {(a, b) for i, a in enumerate(scales) for j, b in enumerate(scales) if abs(i - j) <= 1}
    assert {(b.height, b.width) for b in boxes} == pairs
    places = {(b.top, b.left) for b in boxes if (b.height, b.width) == (75, 66)}
    t, w = 25, 74  # the room to move
    five = {(0, 0), (0, w), (t, 0), (t, w), (t // 2, w // 2)}
    middles = {(t // 2, 0), (t // 2, w), (0, w // 2), (t, w // 2)}
    quarters = {(y, x) for y in (t // 4, 3 * t // 4) for x in (w // 4, 3 * w // 4)}
    assert places == (five | middles | quarters if more else five)


@given(
    height=st.integers(8, 90),
    width=st.integers(8, 90),
    size=st.integers(4, 60),
    flip=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_cut_matches_exact_resizing(height: int, width: int, size: int, flip: bool, seed: int) -> None:
    frames = noise(2, height, width, seed)
    rng = np.random.default_rng(seed)
    tall, wide = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
    box = Box(int(rng.integers(0, height - tall + 1)), int(rng.integers(0, width - wide + 1)), tall, wide)
    clip = cut(frames, box, size, flip)
    assert clip.shape == (2, size, size, 3)
    assert clip.dtype == torch.uint8
    assert clip.is_contiguous()
    part = frames[:, box.top : box.top + tall, box.left : box.left + wide].numpy().astype(float)
    exact = np.einsum("ay,bx,tyxc->tabc", triangles(tall, size), triangles(wide, size), part)
    error = clip.numpy() - (exact[:, :, ::-1] if flip else exact)
    assert abs(error).max() <= 1.1  # rows and columns are each rounded to whole levels, with weights of 15 bits
    assert abs(error.mean()) < 0.25


def test_cut_without_resizing_copies_pixels() -> None:
    frames = noise(3, 20, 30)
    clip = cut(frames, Box(2, 5, 16, 16), 16, flip=False)
    assert torch.equal(clip, frames[:, 2:18, 5:21])
    assert torch.equal(cut(frames, Box(2, 5, 16, 16), 16, flip=True), clip.flip(2))
    frames.zero_()
    assert clip.any()  # a copy of its own
    assert clip.untyped_storage().nbytes() == clip.numel()  # and of the crop only


def test_frames_of_a_clip_are_cut_alike() -> None:
    frames = noise(1, 40, 60).expand(5, -1, -1, -1)
    clip = cut(frames, Box(3, 7, 31, 23), 16, flip=True)
    assert all(torch.equal(clip[0], clip[t]) for t in range(5))


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_input_is_normalised_in_channels_last_memory(colour: Any) -> None:
    spec = ClipSpec(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), colour=colour)
    clips = torch.stack([cut(noise(4, 12, 15, s), Box(0, 0, 12, 12), 10, False) for s in range(2)])
    x = to_input(clips, spec)
    assert x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last_3d)
    order = (0, 1, 2) if colour == "rgb" else (2, 1, 0)
    for c, source in enumerate(order):
        expected = (clips[..., source].double() / 255 - spec.mean[c]) / spec.std[c]
        torch.testing.assert_close(x[:, c].double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "batch",
    [
        torch.zeros(1, 2, 8, 8, 4, dtype=torch.uint8),
        torch.zeros(1, 3, 2, 8, 8, dtype=torch.uint8),
        torch.zeros(2, 8, 8, 3, dtype=torch.uint8),
        torch.zeros(1, 2, 8, 8, 3),
    ],
)
def test_wrong_batches_are_refused(batch: torch.Tensor) -> None:
    with pytest.raises(KinemaError, match="N T H W 3"):
        to_input(batch, SPEC)


def test_bad_settings_name_the_field() -> None:
    with pytest.raises(KinemaError, match=r"augment\.scale 'corner': did you mean 'corners'"):
        Augment(scale="corner")  # type: ignore[arg-type]
    with pytest.raises(KinemaError, match=r"augment\.flip is 2"):
        Augment(flip=2)
    with pytest.raises(KinemaError, match=r"augment\.jitter is \(320, 256\)"):
        Augment(jitter=(320, 256))
    with pytest.raises(KinemaError, match=r"starts at 200, below clip\.crop 224"):
        random_box(300, 300, SPEC, Augment("jitter", jitter=(200, 300)), np.random.default_rng(0))
    with pytest.raises(KinemaError, match="2 crops"):
        view_boxes(300, 300, SPEC, 2)
