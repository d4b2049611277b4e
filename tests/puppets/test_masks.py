"""Masks of the acting limbs: what another colour of the limb changes, and reversed for reversed twins."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from puppets.generated import rows

from kinema.errors import KinemaError
from kinema.puppets import generate, limb_masks
from kinema.puppets.actions import ACTIONS, open_trunk, open_wardrobe
from kinema.puppets.clips import draw_scene
from kinema.puppets.figure import ARMS, LEGS, PARTS, draw_body
from kinema.puppets.stage import Layer, LayerGroup, paint

SMALL = {"seed": 3, "train": 2, "test": 1, "speed": 0, "size": 64}


@pytest.fixture(scope="module")
def puppets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("puppets"), **SMALL, workers=1)


def recoloured(shapes: list[LayerGroup], parts: tuple[str, ...], colour: tuple[int, int, int]) -> list[LayerGroup]:
    """The same shapes, the opaque layers of some parts in one colour."""

    def layer(old: Layer) -> Layer:
        return replace(old, colour=colour) if len(old.colour) == 3 else old

    return [replace(s, layers=[layer(x) for x in s.layers]) if s.part in parts else s for s in shapes]


def changed(scene, parts: tuple[str, ...]) -> np.ndarray:
    """Where painting some parts black or white makes at least half of the possible difference."""
    black, white = (
        np.stack([np.asarray(i, int) for i in paint(scene.backdrops, recoloured(scene.shapes, parts, (v,) * 3))])
        for v in (0, 255)
    )
    return (white - black)[..., 0] >= 128


@pytest.mark.parametrize("chosen", ACTIONS, ids=lambda a: a.label)
def test_a_mask_is_what_another_colour_of_the_limb_changes(chosen) -> None:
    for number, size in ((0, 64), (1, 96)):
        scene = draw_scene(np.random.default_rng([7, number]), chosen, "train", number, size)
        mask = scene.mask()
        assert mask.shape == (scene.timing.frames, size, size) and mask.dtype == bool
        assert np.array_equal(mask, changed(scene, scene.limbs))
        assert mask.any((1, 2)).mean() > 0.8
        assert 0.002 < mask.mean() < 0.2


@pytest.mark.parametrize("parts", [("head",), ("torso", "left leg"), PARTS], ids=str)
def test_masks_of_other_parts(parts: tuple[str, ...]) -> None:
    scene = draw_scene(np.random.default_rng(1), ACTIONS[7], "test", 0, 64)
    assert np.array_equal(scene.mask(parts), changed(scene, parts))


def test_the_whole_actor_is_the_union_of_its_parts_up_to_their_borders() -> None:
    scene = draw_scene(np.random.default_rng(2), ACTIONS[8], "test", 0, 96)
    whole, single = scene.mask(PARTS), [scene.mask((part,)) for part in PARTS]
    assert not (np.sum(single, axis=0) > 1).any()  # a pixel shows one part for the most part
    assert not (np.any(single, axis=0) & ~whole).any()
    assert np.any(single, axis=0).sum() > 0.9 * whole.sum()


def test_which_limbs_act() -> None:
    limbs = {}
    for chosen in ACTIONS:
        u = np.linspace(0, 1, 5)
        rng = np.random.default_rng(0)
        limbs[chosen.label] = chosen.perform(u, draw_body(rng), rng).limbs
    assert limbs["wave"] == ("left arm",)
    assert limbs["step right"] == limbs["step left"] == limbs["approach"] == limbs["sit down"] == LEGS
    assert limbs["clap"] == limbs["punch"] == limbs["raise arms"] == limbs["pick up"] == ARMS
    assert set(limbs["jumping jack"]) == {*ARMS, *LEGS}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        body, u = draw_body(rng), np.linspace(0, 1, 9)
        assert open_wardrobe(u, body, rng).limbs == ("right arm",)
        opened = open_trunk(u, body, rng)
        held = tuple(name for name, holds in zip(ARMS, opened.pose.hold.any(0), strict=True) if holds)
        assert opened.limbs == held


def test_masks_of_every_file_of_a_data_set(puppets: Path) -> None:
    table = {row["path"]: row for row in rows(puppets)}
    for path, row in table.items():
        mask = limb_masks(puppets / path)
        assert mask.shape == (int(row["frames"]), SMALL["size"], SMALL["size"])
        if row["twin"] and path < row["twin"]:
            twin = limb_masks(puppets / row["twin"])
            assert np.array_equal(twin, mask[::-1]) and not np.array_equal(twin, mask)


def test_the_mask_is_where_the_file_moves(puppets: Path) -> None:
    from kinema.data.video import open_video

    path = puppets / "train/wave/0001.mp4"
    with open_video(path) as reader:
        video = reader.read(np.arange(len(reader))).float().mean(-1).numpy()
    mask = limb_masks(path)
    motion = np.abs(np.diff(video, axis=0))
    either = mask[1:] | mask[:-1]
    assert motion[either].mean() > 3 * motion[~either].mean()


@pytest.mark.parametrize(
    "path", ["train/wave/0002.mp4", "train/wav/0000.mp4", "trian/wave/0000.mp4", "train/wave/first.mp4",
             "speed/wave/0000.mp4"],
)  # fmt: skip
def test_refuses_what_the_folder_does_not_hold(puppets: Path, path: str) -> None:
    with pytest.raises(KinemaError, match=Path(path).name):
        limb_masks(puppets / path)


def test_refuses_a_clip_elsewhere_a_part_and_another_edition(puppets: Path, tmp_path: Path) -> None:
    clip = tmp_path / "out" / "train" / "wave" / "0000.mp4"
    clip.parent.mkdir(parents=True)
    shutil.copy(puppets / "train/wave/0000.mp4", clip)
    with pytest.raises(KinemaError, match=r"0000\.mp4: not a clip of the puppets"):
        limb_masks(clip)
    (tmp_path / "out" / "puppets.json").write_text('{"edition": 0, "seed": 3, "train": 1, "size": 64}')
    with pytest.raises(KinemaError, match="edition 0"):
        limb_masks(clip)
    (tmp_path / "out" / "puppets.json").write_text("[1]")
    with pytest.raises(KinemaError, match=r"0000\.mp4"):
        limb_masks(clip)
    with pytest.raises(KinemaError, match="left arm"):
        limb_masks(puppets / "train/wave/0000.mp4", parts=["left arms"])
