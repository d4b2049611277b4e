"""Faithfulness: who looks at one corner is found out, what knows nothing does not pass, intervals and controls."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from explain.planted import Corner, spots, trained

from kinema.errors import KinemaError
from kinema.explain.controls import centre_maps, random_maps
from kinema.explain.faithful import faithfulness
from kinema.explain.pointing import mass_on_mask, pointing_hits

N, SHAPE = 12, (12, 4, 32, 32)
CORNERS = {
    "top left": (slice(0, 8), slice(0, 8)),
    "bottom right": (slice(24, 32), slice(24, 32)),
    "bottom left": (slice(24, 32), slice(0, 8)),
}


def lit(corner: tuple[slice, slice], seed: int = 0) -> torch.Tensor:
    clips = torch.randn(N, 3, *SHAPE[1:], generator=torch.Generator().manual_seed(seed)) * 0.5
    clips[:, :, :, *corner] += 1
    return clips


@pytest.mark.parametrize("corner", CORNERS.values(), ids=CORNERS)
@pytest.mark.parametrize("baseline", ["blur", "mean"])
def test_a_network_that_looks_at_one_corner(corner: tuple[slice, slice], baseline: str) -> None:
    model = Corner(slice(None), *corner)
    clips = lit(corner)
    if baseline == "blur":  # a blur keeps a corner bright: what it takes away is the checkerboard that is looked for
        board = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2.0 - 1
        inner = Corner(slice(None), *corner)
        model = torch.nn.Module()
        model.forward = lambda x: inner(x * board)  # type: ignore[method-assign]
        clips = clips + board
    right = Corner(slice(None), *corner).evidence(SHAPE)
    wrong = right.flip(3) if corner[1].start == 0 else right.flip(2, 3).roll(8, 3)
    found = faithfulness(model, clips, [1] * N, {"right": right, "wrong": wrong}, masks=right.bool(), baseline=baseline)
    assert list(found.rows) == ["right", "wrong", "random", "centre"]
    assert found.beats_controls("right") == (True, True)
    assert not found.beats_controls("wrong")[0]
    rows = found.rows
    assert rows["right"].gain.mean > 0.3 and rows["right"].pointing.mean == rows["right"].mass.mean == 1
    assert rows["wrong"].pointing.mean == rows["wrong"].mass.mean == 0
    assert 0.03 < rows["random"].mass.mean < 0.12 and rows["centre"].mass.mean < 1 / 16
    assert rows["centre"].pointing.mean == 0 and rows["random"].over_random is None
    for row in rows.values():
        for f in (row.deletion, row.insertion, row.gain, row.pointing, row.mass):
            assert f.low <= f.mean + 1e-9 and f.mean <= f.high + 1e-9
    json.dumps(found.to_dict())
    titles, table = found.table()
    assert {len(line) for line in table} == {len(titles)}


def test_a_spot_in_the_centre_is_no_news_where_the_evidence_is_there() -> None:
    corner = (slice(12, 20), slice(12, 20))
    model = Corner(slice(None), *corner)
    found = faithfulness(model, lit(corner), [1] * N, {"same": centre_maps(SHAPE)}, baseline="mean")
    assert found.beats_controls("same") == (True, False)
    assert found.rows["same"].over_centre.mean == 0


def test_random_maps_do_not_beat_random_maps() -> None:
    model, passed = trained(), 0
    clips, targets, masks = spots(N, size=32, seed=5)
    for seed in range(8):
        maps = random_maps(SHAPE, 100 + seed)
        found = faithfulness(model, clips, targets.tolist(), maps, masks=masks, steps=5, seed=seed)
        passed += all(found.beats_controls("map"))
    assert passed <= 1


def test_a_trained_network_is_explained_by_the_spot_and_not_by_the_rest() -> None:
    model = trained()
    clips, targets, masks = spots(24, size=32, seed=9)
    assert (model(clips).argmax(1) == targets).float().mean() > 0.9
    found = faithfulness(model, clips, targets.tolist(), {"spot": masks.float(), "rest": (~masks).float()}, masks=masks)
    assert found.beats_controls("spot") == (True, True)
    assert found.beats_controls("rest") == (False, False)


def test_pointing_with_a_tolerance_and_equal_maxima() -> None:
    masks = torch.zeros(5, 2, 16, 16, dtype=torch.bool)
    masks[:4, 1, 4:6, 4:6] = True
    maps = torch.zeros(5, 2, 16, 16)
    maps[0, 1, 5, 5] = 1  # on it
    maps[1, 1, 5, 7] = 1  # two pixels beside it
    maps[2, 0, 5, 5] = 1  # there, but in another frame
    maps[3, 1, 5, 4] = maps[3, 1, 12, 12] = 1  # half of the maxima
    maps[4, 1, 5, 5] = 1  # a clip without a mask
    assert torch.equal(pointing_hits(maps, masks, 0)[:4], torch.tensor([1.0, 0, 0, 0.5]))
    assert torch.equal(pointing_hits(maps, masks, 1)[:4], torch.tensor([1.0, 0, 0, 0.5]))
    assert torch.equal(pointing_hits(maps, masks, 2)[:4], torch.tensor([1.0, 1, 0, 0.5]))
    assert torch.equal(pointing_hits(maps, masks)[:4], pointing_hits(maps, masks, 1)[:4])
    assert pointing_hits(maps, masks)[4].isnan() and mass_on_mask(maps, masks)[4].isnan()
    found = faithfulness(Corner(slice(1), slice(4), slice(4)), torch.rand(5, 3, 2, 16, 16), [0] * 5, maps, masks=masks)
    assert (found.clips, found.masked, found.tolerance) == (5, 4, 1)
    assert found.rows["map"].pointing.mean == pytest.approx(1.5 / 4)


def test_mass() -> None:
    maps = torch.zeros(3, 2, 4, 4)
    maps[0, 0, 0, :2] = torch.tensor([3.0, 1.0])
    maps[1] = 1
    masks = torch.zeros(3, 2, 4, 4, dtype=torch.bool)
    masks[:, 0, 0, 0] = True
    assert torch.allclose(mass_on_mask(maps, masks), torch.tensor([0.75, 1 / 32, 1 / 32]))
    with pytest.raises(KinemaError, match="maps"):
        mass_on_mask(-maps, masks)
    with pytest.raises(KinemaError, match="masks"):
        mass_on_mask(maps, masks.float())
    with pytest.raises(KinemaError, match="tolerance"):
        pointing_hits(maps, masks, -1)


def test_more_clips_make_intervals_narrower() -> None:
    model = Corner(slice(None), slice(0, 8), slice(0, 8))
    widths = []
    for n in (12, 108):
        clips = torch.randn(n, 3, *SHAPE[1:], generator=torch.Generator().manual_seed(3))
        clips += torch.linspace(-1, 1, 12).repeat(n // 12)[:, None, None, None, None]
        row = faithfulness(model, clips, [1] * n, model.evidence((n, *SHAPE[1:])), steps=4, baseline="mean").rows["map"]
        widths.append(row.gain.high - row.gain.low)
        assert row.pointing is None and row.mass is None
    assert widths[1] < 0.5 * widths[0]


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (3, 8, 112, 112), (1, 16, 32, 48), (2, 3, 5, 7)])
def test_controls(shape: tuple[int, int, int, int]) -> None:
    noise, centre = random_maps(shape, 1), centre_maps(shape)
    assert noise.shape == centre.shape == shape
    assert noise.min() >= 0 and noise.max() <= 1 and noise.std() > 0.05
    assert torch.equal(noise, random_maps(shape, 1)) and not torch.equal(noise, random_maps(shape, 2))
    assert torch.allclose(centre, centre.flip(2, 3)) and torch.allclose(centre[0, 0], centre[-1, -1])
    middle = np.unravel_index(int(centre[0, 0].argmax()), shape[2:])
    assert abs(middle[0] - (shape[2] - 1) / 2) <= 0.5 and abs(middle[1] - (shape[3] - 1) / 2) <= 0.5


def test_refuses_a_method_named_as_a_control_and_masks_that_do_not_fit() -> None:
    model, clips = Corner(slice(1), slice(4), slice(4)), torch.rand(2, 3, 2, 8, 8)
    with pytest.raises(KinemaError, match="random"):
        faithfulness(model, clips, [0, 1], {"random": torch.rand(2, 2, 8, 8)})
    with pytest.raises(KinemaError, match="masks"):
        faithfulness(model, clips, [0, 1], torch.rand(2, 2, 8, 8), masks=torch.ones(2, 2, 8, 9, dtype=torch.bool))
