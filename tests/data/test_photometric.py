"""Every kind of change against its definition, the two levels of chance, and what must stay as it is."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from kinema.data import photometric
from kinema.data.photometric import Kind, Photometric, draw
from kinema.errors import KinemaError

KINDS = get_args(Kind)
GRAY = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1, 1)


def clips(n: int = 3, t: int = 4, size: int = 24, low: int = 0, high: int = 256, seed: int = 0) -> Tensor:
    """Noise, smoothed a little; uint8 N 3 T H W, the frames of a clip different."""
    rng = np.random.default_rng(seed)
    raw = torch.from_numpy(rng.integers(low, high, (n, t, size, size + 6, 3), dtype=np.uint8))
    return raw.permute(0, 4, 1, 2, 3)


def apply(x: Tensor, what: Photometric, rng: np.random.Generator) -> Tensor:
    """`photometric.apply` on N 3 T H W."""
    return photometric.apply(x.permute(0, 2, 3, 4, 1), what, rng).permute(0, 4, 1, 2, 3)


def only(kind: str, **fields: object) -> Photometric:
    return Photometric(clips=1, kinds=(kind,), each=1, **fields)  # type: ignore[arg-type]


def changed(x: Tensor, kind: str, seed: int = 3) -> tuple[Tensor, list[tuple[float, ...]]]:
    """The result and the values drawn for every clip."""
    what = only(kind)
    values = [change[kind] for change in draw(what, len(x), np.random.default_rng(seed))]
    return apply(x, what, np.random.default_rng(seed)), values


def unit(clip: Tensor) -> Tensor:
    return clip.double() / 255


def assert_pixels(got: Tensor, expected: Tensor, most: float = 0.5) -> None:
    """uint8 against what it was rounded from, in 0 to 1."""
    assert (got.double() - expected.clamp(0, 1) * 255).abs().max() <= most + 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_shape_memory_and_dtype_stay_and_the_input_too(kind: str) -> None:
    x = clips(size=64)
    before = x.clone()
    got, _ = changed(x, kind)
    assert torch.equal(x, before)
    assert (got.shape, got.dtype, got.stride()) == (x.shape, torch.uint8, x.stride())
    assert got.is_contiguous(memory_format=torch.channels_last_3d)
    assert not torch.equal(got, x)


@pytest.mark.parametrize("kind", KINDS)
def test_all_frames_change_alike(kind: str) -> None:
    still = clips(t=1).expand(-1, -1, 5, -1, -1).contiguous(memory_format=torch.channels_last_3d)
    got, _ = changed(still, kind)
    assert torch.equal(got, got[:, :, :1].expand_as(got))
    # And a frame does not depend on its neighbours, unless by the mean of the clip.
    if kind not in ("contrast", "colour_jitter"):
        moving = clips(t=4)
        alone = [changed(moving[:, :, t : t + 1], kind)[0] for t in range(4)]
        assert (torch.cat(alone, 2).int() - changed(moving, kind)[0].int()).abs().max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_is_changed_the_same_alone_and_in_company(kind: str) -> None:
    x = clips(5)
    together = apply(x, only(kind), np.random.default_rng(1))
    rng = np.random.default_rng(1)
    alone = torch.cat([apply(x[i : i + 1], only(kind), rng) for i in range(5)])
    assert (together.int() - alone.int()).abs().max() <= 1  # rounding may differ with the size of the batch


def test_large_batches_are_changed_in_parts() -> None:
    x = clips(9, t=16, size=224)  # more than is changed at once on a CPU
    what = Photometric(clips=0.8, kinds=("rgb_shift", "grayscale"))
    parts = draw(what, 9, np.random.default_rng(5))
    got = apply(x, what, np.random.default_rng(5))
    assert [torch.equal(a, b) for a, b in zip(got, x, strict=True)] == [not change for change in parts]


def test_rgb_shift_adds_exactly_what_was_drawn() -> None:
    x = clips(40, 1, 6, low=15, high=241)
    got, values = changed(x, "rgb_shift")
    moved = (got.int() - x.int()).flatten(2)
    assert torch.equal(moved[:, :, 0].double(), torch.tensor(values, dtype=torch.float64))
    assert torch.equal(moved, moved[:, :, :1].expand_as(moved))
    assert {abs(v) for row in values for v in row} <= set(range(1, 16))
    assert min(min(v) for v in values) < -10
    assert max(max(v) for v in values) > 10
    full = changed(torch.full_like(x, 250), "rgb_shift")[0]
    assert full.max() == 255  # and it does not wrap around


def test_brightness_adds_and_contrast_stretches_about_the_mean_of_the_clip() -> None:
    x = clips()
    got, values = changed(x, "brightness")
    for clip, result, (amount,) in zip(x, got, values, strict=True):
        assert abs(amount) <= 0.2
        assert_pixels(result, unit(clip) + amount)
    got, values = changed(x, "contrast")
    for clip, result, (factor,) in zip(x, got, values, strict=True):
        assert 0.6 <= factor <= 1.4
        mean = (unit(clip) * GRAY).sum(0).mean()
        assert_pixels(result, (unit(clip) - mean) * factor + mean)


def test_grayscale() -> None:
    x = clips()
    got, _ = changed(x, "grayscale")
    assert torch.equal(got[:, 0], got[:, 1])
    assert torch.equal(got[:, 0], got[:, 2])
    for clip, result in zip(x, got, strict=True):
        assert_pixels(result, (unit(clip) * GRAY).sum(0, keepdim=True).expand(3, -1, -1, -1))


def slow_blur(clip: Tensor, weights: list[float]) -> Tensor:
    """Along rows and columns by loops, the edges repeated."""
    radius = len(weights) // 2
    for dim in (2, 3):
        size, result = clip.shape[dim], torch.zeros_like(clip)
        for i in range(size):
            for offset, weight in zip(range(-radius, radius + 1), weights, strict=True):
                source = clip.select(dim, min(max(i + offset, 0), size - 1))
                result.select(dim, i).add_(weight * source)
        clip = result
    return clip


def test_blurs() -> None:
    x = clips(4, 2, 100)
    got, values = changed(x, "gaussian_blur")
    for clip, result, (sigma,) in zip(x, got, values, strict=True):
        assert 0.1 <= sigma <= 2
        scaled = sigma * 100 / 224
        weights = [math.exp(-0.5 * (i / scaled) ** 2) for i in range(-3, 4)]
        assert_pixels(result, slow_blur(unit(clip), [w / sum(weights) for w in weights]))
    x = clips(8, 1, 224)
    got, values = changed(x, "mean_blur")
    assert {radius for (radius,) in values} == {1, 2, 3}
    for i in (0, 3, 7):
        window = 2 * int(values[i][0]) + 1
        assert_pixels(got[i], slow_blur(unit(x[i]), [1 / window] * window))


@pytest.mark.parametrize("kind", ["gaussian_blur", "mean_blur", "geometric"])
def test_a_plain_picture_stays_plain(kind: str) -> None:
    x = torch.full((2, 3, 2, 20, 26), 77, dtype=torch.uint8)
    assert torch.equal(changed(x, kind)[0], x)


def test_geometric_moves_points_by_rotation_shear_and_scale_about_the_centre() -> None:
    size, (row, column) = 101, (20, 70)
    x = torch.zeros(6, 3, 1, size, size, dtype=torch.uint8)
    x[:, :, :, row - 1 : row + 2, column - 1 : column + 2] = 255
    got, values = changed(x, "geometric", seed=8)
    places = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")).double()
    for result, (angle, scale, shear) in zip(got, values, strict=True):
        assert abs(angle) <= 10
        assert 0.9 <= scale <= 1.1
        assert abs(shear) <= 5
        weight = result[0, 0].double()
        centre = (places * weight).sum((1, 2)) / weight.sum()
        across, down = column - 50, row - 50
        sheared = across - math.tan(math.radians(shear)) * down
        a = math.radians(angle)
        expected_down = 50 + scale * (math.sin(a) * sheared + math.cos(a) * down)
        expected_across = 50 + scale * (math.cos(a) * sheared - math.sin(a) * down)
        assert centre.tolist() == pytest.approx([expected_down, expected_across], abs=0.1)


def rotated_hue(r: float, g: float, b: float, turn: float) -> tuple[float, float, float]:
    import colorsys

    h, s, v = colorsys.rgb_to_hsv(r, g, b)
    return colorsys.hsv_to_rgb((h + turn) % 1, s, v)


def test_colour_jitter_is_brightness_contrast_saturation_hue() -> None:
    x = clips(3, 1, 6)
    got, values = changed(x, "colour_jitter")
    for clip, result, (brightness, contrast, saturation, hue) in zip(x, got, values, strict=True):
        assert 0.6 <= brightness <= 1.4
        assert 0.6 <= contrast <= 1.4
        assert 0.8 <= saturation <= 1.2
        assert abs(hue) <= 0.1
        y = (unit(clip) * brightness).clamp(0, 1)
        mean = (y * GRAY).sum(0).mean()
        y = ((y - mean) * contrast + mean).clamp(0, 1)
        gray = (y * GRAY).sum(0)
        y = ((y - gray) * saturation + gray).clamp(0, 1)
        turned = [rotated_hue(*pixel, hue) for pixel in y.flatten(1).T.tolist()]
        assert_pixels(result, torch.tensor(turned, dtype=torch.float64).T.reshape(y.shape), most=0.6)


def test_the_chances_of_both_levels() -> None:
    what = Photometric(clips=0.8, each=0.4, odds={"contrast": 0.1, "grayscale": 0.2})
    draws = draw(what, 20000, np.random.default_rng(0))
    counts = Counter(kind for change in draws for kind in change)
    for kind in ("gaussian_blur", "mean_blur", "rgb_shift", "brightness", "geometric"):
        assert counts[kind] / 20000 == pytest.approx(0.8 * 0.4, abs=0.015)
    assert counts["contrast"] / 20000 == pytest.approx(0.8 * 0.1, abs=0.01)
    assert counts["grayscale"] / 20000 == pytest.approx(0.8 * 0.2, abs=0.01)
    untouched = sum(not change for change in draws) / 20000
    assert untouched == pytest.approx(0.2 + 0.8 * 0.6**5 * 0.9 * 0.8, abs=0.015)
    twins = Photometric(clips=1, kinds=(), odds={"grayscale": 0.2, "colour_jitter": 0.8})
    assert list(twins.chances()) == ["colour_jitter", "grayscale"]  # as listed in `Kind`, not as someone wrote them


def test_clips_that_nothing_happens_to_are_the_same_bits() -> None:
    x, what = clips(30, 2, 8), Photometric(clips=0.5, each=0.3)
    draws = draw(what, 30, np.random.default_rng(2))
    got = apply(x, what, np.random.default_rng(2))
    assert 5 < sum(not change for change in draws) < 29
    for clip, result, change in zip(x, got, draws, strict=True):
        assert torch.equal(clip, result) or change
    pixels = x.permute(0, 2, 3, 4, 1)
    for nothing in (Photometric(), Photometric(clips=1, each=0)):
        assert photometric.apply(pixels, nothing, np.random.default_rng(0)) is pixels


def test_the_seed_decides_and_autocast_does_not() -> None:
    x, what = clips(6), Photometric(clips=1, each=0.6, odds={"colour_jitter": 0.5})
    first = apply(x, what, np.random.default_rng(4))
    torch.manual_seed(99)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(apply(x, what, np.random.default_rng(4)), first)
    rng = np.random.default_rng(4)
    assert torch.equal(apply(x, what, rng), first)
    assert not torch.equal(apply(x, what, rng), first)  # a second view of the same clips


def test_no_clips_and_wrong_ones() -> None:
    what, rng = Photometric(clips=1, each=1), np.random.default_rng(0)
    for empty in (torch.empty(0, dtype=torch.uint8), torch.empty(0, 2, 8, 8, 3, dtype=torch.uint8)):
        assert photometric.apply(empty, what, rng) is empty
    tiny = apply(clips(2, 1, 1), what, rng)
    assert tiny.shape == (2, 3, 1, 1, 7)
    pixels = clips().permute(0, 2, 3, 4, 1)
    for wrong in (pixels.float(), pixels[0], pixels.transpose(1, 4)):
        with pytest.raises(KinemaError, match="uint8 with the shape N T H W 3"):
            photometric.apply(wrong, what, rng)


def test_bad_values_are_one_sentence() -> None:
    with pytest.raises(KinemaError, match="did you mean 'grayscale'"):
        Photometric(odds={"greyscale": 0.2})
    with pytest.raises(KinemaError, match="give a probability"):
        Photometric(clips=1.5)
    with pytest.raises(KinemaError, match=r"photometric\.odds\.contrast is 2"):
        Photometric(odds={"contrast": 2})


def test_kornia_waits_until_it_is_needed() -> None:
    code = "import sys, kinema.data.photometric; print('kornia' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
