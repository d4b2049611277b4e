"""A sampler of one's own is one class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data.plain_videos import FRAMES, write_video

from kinema.clip_spec import ClipSpec
from kinema.data.samplers import Sampler, Ticks, find_sampler, needed_ticks, sampler_names, test_indices, train_indices
from kinema.data.views import read_views
from kinema.errors import KinemaError

indices = test_indices
del test_indices  # pytest would collect it


class Ends(Sampler):
    """Frames from both ends of a video."""

    name = "ends"

    def ticks(self, spec: ClipSpec) -> int:
        return spec.frames

    def train(self, n: int, spec: ClipSpec, rng: np.random.Generator) -> Ticks:
        return self.test(n, spec, 1)[0]

    def test(self, n: int, spec: ClipSpec, clips: int) -> Ticks:
        half = spec.frames // 2
        clip = np.concatenate([np.arange(half), np.arange(n - spec.frames + half, n)])
        return np.repeat(clip[None], clips, 0)


def test_a_sampler_of_ones_own_is_used_everywhere(tmp_path: Path) -> None:
    spec = ClipSpec(frames=4, sampler="ends", short_side=64, crop=48)
    assert find_sampler("ends").spacing(spec, 10.0, 25.0) == pytest.approx(1 / 25)
    views = read_views(write_video(tmp_path / "a.mp4"), spec, 2, 1)
    assert [key[0] for key in views.keys] == [(0, 1, FRAMES - 2, FRAMES - 1)] * 2
    assert ClipSpec.from_dict(spec.to_dict()) == spec
    assert train_indices(3, spec, np.random.default_rng(0)).tolist() == [0, 1, 2, 0]  # completed by looping


def test_names_are_the_table() -> None:
    assert {"segments", "dense", "normal", "ends"} <= set(sampler_names())
    with pytest.raises(KinemaError, match=r"clip\.sampler.*'segment'.*'segments'"):
        ClipSpec(sampler="segment")
    assert needed_ticks(ClipSpec(frames=8, stride=4, sampler="dense")) == 29
    assert indices(8, ClipSpec(frames=8), 1).shape == (1, 8)


def test_a_name_is_given_once_and_has_to_be_given() -> None:
    with pytest.raises(KinemaError, match="a sampler 'dense' already exists"):

        class Other(Sampler):
            name = "dense"

    with pytest.raises(KinemaError, match="Nameless has no name"):

        class Nameless(Sampler):
            pass
