from __future__ import annotations

import numpy as np
import pytest
import torch

from kinema.errors import KinemaError
from kinema.explain.overlay import STRONGEST, Timeline, blend, checked, colours, lay, overlay, scaled, scaled_box
from kinema.explain.source import ClipFilm, Film


def film_at(times: list[float], duration: float) -> Film:
    from fractions import Fraction

    return Film("a.mp4", np.asarray(times), duration, Fraction(1, 1000), (10, 10))


def planes(*levels: float) -> torch.Tensor:
    return torch.tensor(levels)[:, None, None].expand(-1, 4, 4)


def test_the_lightness_of_the_colours_grows_evenly() -> None:
    lightness = colours().astype(float) @ (0.2126, 0.7152, 0.0722)
    assert colours().shape == (256, 3)
    assert np.all(np.diff(lightness) > -1)
    assert lightness[-1] - lightness[0] > 150


def test_no_evidence_leaves_the_picture_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    assert np.array_equal(blend(picture, np.zeros((6, 5), np.float32)), picture)
    full = blend(picture, np.ones((6, 5), np.float32))
    assert np.abs(full - (picture + STRONGEST * (colours()[255] - picture.astype(float)))).max() <= 0.5
    half = blend(picture, np.full((6, 5), 0.5, np.float32)).astype(int)
    assert np.abs(half - (picture + STRONGEST * 0.5 * (colours()[128] - picture.astype(float)))).max() <= 1


def test_a_whole_map_over_its_clip() -> None:
    pixels = np.full((2, 8, 6, 3), 100, np.uint8)
    result = overlay(pixels, torch.stack([torch.zeros(4, 3), torch.ones(4, 3)]))
    assert result.shape == pixels.shape
    assert np.array_equal(result[0], pixels[0])
    assert not np.array_equal(result[1], pixels[1])


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        (torch.zeros(3, 4, 4), "3 frames"),
        (torch.zeros(4, 4), "T H W"),
        (torch.full((2, 4, 4), float("nan")), "not finite"),
        (torch.zeros(0, 4, 4), "T H W"),
    ],
)
def test_maps_that_do_not_fit_are_refused(evidence: torch.Tensor, said: str) -> None:
    with pytest.raises(KinemaError, match=said):
        overlay(np.zeros((2, 8, 8, 3), np.uint8), evidence)


def test_half_precision_and_gradients_are_taken() -> None:
    evidence = torch.rand(2, 4, 4, dtype=torch.bfloat16).requires_grad_()
    assert checked(evidence).dtype == np.float32


@pytest.mark.parametrize("size", [(3, 5), (64, 40), (7, 7), (1, 1)])
def test_scaling_stays_between_the_extremes(size: tuple[int, int]) -> None:
    plane = np.random.default_rng(1).random((7, 7), np.float32)
    result = scaled(plane, *size)
    assert result.shape == size[::-1]
    assert plane.min() - 1e-6 <= result.min() <= result.max() <= plane.max() + 1e-6


def test_between_frames_of_the_clip_the_map_is_interpolated_in_time() -> None:
    film = film_at([0.0, 0.1, 0.5, 0.6, 1.0], 1.2)
    line = Timeline(planes(0.0, 1.0), [0, 3], film, (0.0, 1.2))
    found = [float(line.at(i)[0, 0]) for i in range(5)]  # type: ignore[index]
    assert found == pytest.approx([0, 1 / 6, 5 / 6, 1, 1])  # by time, not by number


def test_outside_the_part_of_the_clip_there_is_no_map() -> None:
    film = film_at([0.1 * i for i in range(10)], 1.0)
    line = Timeline(planes(0.2, 0.4), [4, 5], film, (0.3, 0.7))
    assert [line.at(i) is None for i in range(10)] == [True] * 3 + [False] * 4 + [True] * 3
    assert float(line.at(3)[0, 0]) == pytest.approx(0.2)  # type: ignore[index]
    assert float(line.at(6)[0, 0]) == pytest.approx(0.4)  # type: ignore[index]


def test_frames_that_a_clip_shows_twice_have_the_mean_of_their_maps() -> None:
    film = film_at([0.0, 0.1, 0.2], 0.3)
    line = Timeline(planes(0.0, 0.5, 1.0, 1.0, 0.5), [0, 1, 2, 0, 1], film, (0.0, 0.3))
    assert [float(line.at(i)[0, 0]) for i in range(3)] == pytest.approx([0.5, 0.5, 1.0])  # type: ignore[index]


@pytest.mark.parametrize(("frames", "said"), [([0], "2 frames"), ([0, 7], "frame 7"), ([-1, 0], "a.mp4")])
def test_a_map_of_another_film_is_refused(frames: list[int], said: str) -> None:
    with pytest.raises(KinemaError, match=said):
        Timeline(planes(0.0, 1.0), frames, film_at([0.0, 0.1], 0.2), (0.0, 0.2))


@pytest.mark.parametrize(
    ("box", "size", "shown", "wanted"),
    [
        ((16, 0, 64, 64), (96, 64), (192, 128), (32, 0, 128, 128)),
        ((16, 0, 64, 64), (96, 64), (128, 64), (21, 0, 86, 64)),  # oblong pixels
        ((0, 0, 96, 64), (96, 64), (96, 64), (0, 0, 96, 64)),
        ((0, 0, 1, 1), (4000, 4000), (100, 100), (0, 0, 1, 1)),  # never empty
        ((3999, 3999, 1, 1), (4000, 4000), (100, 100), (99, 99, 1, 1)),
    ],
)
def test_boxes_follow_the_picture(
    box: tuple[int, int, int, int], size: tuple[int, int], shown: tuple[int, int], wanted: tuple[int, int, int, int]
) -> None:
    assert scaled_box(box, size, shown) == wanted


def test_only_the_box_is_drawn_on() -> None:
    picture = np.full((40, 60, 3), 100, np.uint8)
    result = lay(picture, np.full((5, 5), 0.5, np.float32), (10, 5, 30, 20))
    outside = np.ones((40, 60), bool)
    outside[5:25, 10:40] = False
    assert np.all(result[outside] == 100)
    assert np.all(result[5, 10:40] == 255)
    assert np.all(result[5:25, 39] == 255)
    assert not np.any(np.all(result[7:23, 12:38] == 100, axis=-1))
    assert np.all(picture == 100)
    unseen = lay(picture, None, (10, 5, 30, 20))
    assert np.all(unseen[7:23, 12:38] == 100)
    assert len(set(unseen[5, 10:40].ravel().tolist())) == 1
    assert unseen[5, 10, 0] not in (100, 255)


def test_the_box_may_be_a_single_pixel() -> None:
    picture = ClipFilm(np.zeros((1, 3, 3, 3), np.uint8))
    for _, pixels in picture.pictures([0]):
        assert lay(pixels, np.ones((1, 1), np.float32), (1, 1, 1, 1))[1, 1].tolist() == [255, 255, 255]
