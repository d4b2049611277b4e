"""Views as pictures: every row is there, colours say what they should, and nothing depends on odd sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinema.errors import KinemaError
from kinema.explain.amplified import Amplified
from kinema.explain.attention import attention
from kinema.explain.cycle import Cycle
from kinema.explain.features import motion_views, strongest_channels
from kinema.explain.overlay import colours
from kinema.explain.tiles import (
    amplified_picture,
    attention_picture,
    channels_picture,
    cycle_picture,
    grid,
    motion_picture,
    rates_picture,
)
from kinema.models import create_model


def pixels(frames: int = 4, height: int = 32, width: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def test_grid() -> None:
    red, green = (np.full((h, 20, 3), c, np.uint8) for h, c in ((30, (200, 0, 0)), (50, (0, 200, 0))))
    picture = grid([("one", [red, green]), ("two\nlines of a title\nthree", [])])
    assert picture.dtype == np.uint8 and picture.shape[0] > 50 + 3 * 15
    for tile in (red, green):
        assert (picture == tile[0, 0]).all(-1).sum() == tile.shape[0] * tile.shape[1]
    assert (picture[:, :200].max(-1) > 100).any()  # the titles
    with pytest.raises(KinemaError, match="row"):
        grid([])


@pytest.mark.parametrize("name", ["cidc_r2d_50", "r3d_34"])
def test_attention(name: str) -> None:
    torch.manual_seed(0)
    found = attention(create_model(name, num_classes=2, width=0.125, frames=4).eval(), torch.randn(3, 4, 32, 32))
    picture = attention_picture(found, pixels())
    assert picture.shape[0] > (1 + len(found)) * 128 and picture.shape[1] > 230 + len(found[0].frames) * 128


def test_features_and_motion() -> None:
    torch.manual_seed(0)
    model, clip = create_model("stm_r18", num_classes=2, width=0.25, frames=4).eval(), torch.randn(3, 4, 32, 48)
    channels = channels_picture(strongest_channels(model, clip, "layer1", 3), pixels(width=48))
    assert channels.shape[0] > 4 * 80
    views = motion_views(model, clip)
    plain, with_flow = motion_picture(views, pixels()), motion_picture(views, pixels(), torch.rand(4, 32, 32))
    assert with_flow.shape[0] > plain.shape[0]
    # a silent CMM is the darkest colour everywhere
    assert views.cmm.abs().max() == 0
    assert ((plain == colours()[0]).all(-1)).sum() > 4 * 128 * 80


def test_cycles_in_blue_and_errors_in_orange() -> None:
    right, wrong = (
        Cycle("layer1.0.sr", (0, 1, 2), (0, 1, 2), "hard"),
        Cycle("layer2.0.sr", (0, 1, 1), (0, 0, 0), "none"),
    )
    blue, orange = (86, 180, 233), (230, 159, 0)

    def count(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
        return int((picture == colour).all(-1).sum())

    assert count(cycle_picture([right]), blue) > 100 and count(cycle_picture([right]), orange) == 0
    assert count(cycle_picture([wrong]), orange) > 100
    assert cycle_picture([right, wrong]).shape[0] > 144
    assert cycle_picture([Cycle("x", tuple(range(64)), (0,) * 64, "hard")]).shape[1] > 64 * 12


def test_rates() -> None:
    rates = {"layer1": torch.tensor([0.0, 0.5, torch.nan]), "layer2": torch.tensor([1.0, 1.0, 0.2])}
    picture = rates_picture(rates, ["a", "b", "a class with quite a long name that does not fit"])
    for value in (0, 1):
        assert (picture == colours()[value * 255]).all(-1).any()


def test_amplified() -> None:
    maps = torch.rand(2, 5, 7)
    found = [
        Amplified("layer1", 3, 1.2, maps, ((4, 0.5), (1, 0.25)), 0.3),
        Amplified("layer2", 4, 1.0, maps * 0, (), -0.1),
    ]
    picture = amplified_picture(found, pixels(8, 24, 40))
    assert picture.shape[0] > 2 * 70
