from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
import torch
from evaluation.mixed_data import SPEC, mixed_data, picture_sequence
from tiny import write_video

from kinema.clip_spec import ClipSpec
from kinema.data.datasets import TestVideos
from kinema.data.manifest import Manifest, read_manifest
from kinema.data.sources import Sample
from kinema.data.transforms import Box
from kinema.data.views import parse_views
from kinema.errors import KinemaError, RunError
from kinema.evaluation.views import ViewProof, explain, prove, summarise

SAMPLERS = (
    SPEC,
    SPEC.replace(sampler="dense", stride=2),
    SPEC.replace(sampler="normal", stride=2),
)


def one_video(path: Path) -> Manifest:
    return Manifest(str(path.parent), (Sample(str(path), "jump", "test"),), ("jump",))


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return one_video(write_video(tmp_path_factory.mktemp("views") / "long.mp4", picture_sequence(1, 60)))


@pytest.mark.parametrize("spec", SAMPLERS, ids=lambda spec: spec.sampler)
def test_the_views_of_a_long_video_differ_in_key_and_in_pixels(spec: ClipSpec, long_video: Manifest) -> None:
    """The trap: a multi-view test whose temporal views are the same clip several times over."""
    item = TestVideos(long_video, ("jump",), spec, 5, 3)[0]
    assert isinstance(item, dict)
    proof = prove(item["keys"])
    assert proof == ViewProof(views=15, distinct=15, distinct_clips=5, distinct_crops=3, repeats=False)
    for i, j in combinations(range(15), 2):
        assert not torch.equal(item["views"][i], item["views"][j])


def test_equal_keys_mean_equal_pixels_and_different_ones_different(tmp_path: Path) -> None:
    manifest = one_video(write_video(tmp_path / "short.mp4", picture_sequence(1, 5)))
    item = TestVideos(manifest, ("jump",), SPEC, 8, 1)[0]
    assert isinstance(item, dict)
    for i, j in combinations(range(8), 2):
        assert torch.equal(item["views"][i], item["views"][j]) == (item["keys"][i] == item["keys"][j])
    assert 1 < prove(item["keys"]).distinct < 8


def test_prove_counts_by_hand() -> None:
    left, right = Box(0, 0, 8, 8), Box(0, 4, 8, 8)
    keys = [((0, 1), left), ((0, 1), right), ((0, 1), left), ((2, 2), right)]
    assert prove(keys) == ViewProof(views=4, distinct=3, distinct_clips=2, distinct_crops=2, repeats=True)


def test_summary_states_why_views_coincide() -> None:
    whole = ViewProof(6, 6, 2, 3, False)
    short = ViewProof(6, 3, 1, 3, True)
    square = ViewProof(6, 2, 2, 1, False)
    summary = summarise([whole, whole, short, square], 2, 3)
    assert (summary.all_distinct, summary.coinciding, summary.fewest_distinct) == (2, 2, 2)
    assert (summary.same_clips, summary.same_crops, summary.repeated_frames) == (1, 1, 1)
    text = str(summary)
    assert text.startswith("2x3 = 6 per video; all differ for 2 of 4 read, for 2 some are equal")
    assert "1 with too few frames for 2 different clips" in text
    assert "1 with no room to move the crop" in text
    assert "at least 2 differ" in text
    assert str(summarise([whole], 2, 3)) == "2x3 = 6 per video; all differ for 1 of 1 read"
    assert str(summarise([ViewProof(1, 1, 1, 1, False)], 1, 1)) == "1x1: the centre crop of the centre clip"


def test_views_are_read_from_words() -> None:
    assert parse_views("10x3") == parse_views("10X3") == parse_views(" 10×3 ") == (10, 3)
    for bad, mend in (
        ("10", "such as 10x3"),
        ("x3", "such as 10x3"),
        ("-1x3", "such as 10x3"),
        ("0x3", "at least 1 clip"),
        ("3x2", "1 crop .centre. or 3 crops"),
        ("3x0", "1 crop .centre. or 3 crops"),
    ):
        with pytest.raises(KinemaError, match=mend):
            parse_views(bad)


def test_explanation_draws_frames_and_boxes(tmp_path: Path) -> None:
    manifest = one_video(write_video(tmp_path / "v.mp4", picture_sequence(0, 8)))
    text = explain(manifest, SPEC.replace(crop=36), 2, 3)
    assert "v.mp4: 8 frames, 64x48" in text
    assert "\n6 views: every clip below with every crop below; their softmax scores are averaged\n" in text
    assert "clip 1: frames 0 2 4 6" in text
    assert "clip 2: frames 1 3 5 7" in text
    assert "crop 1: 48x48 pixels from left 0, top 0, scaled to 36x36" in text
    assert "crop 3: 48x48 pixels from left 16, top 0" in text
    line = text.split("clip 1")[1].splitlines()[1]
    assert [i for i, c in enumerate(line.strip().strip("|")) if c == "#"] == [0, 18, 36, 54]
    picture = text.split("crop 3")[1].splitlines()[1:]
    assert picture == ["  ......##################"] * 9


def test_explanation_says_when_views_repeat(tmp_path: Path) -> None:
    manifest = one_video(write_video(tmp_path / "v.mp4", picture_sequence(0, 2)))
    assert "of the 10 views repeat another one" in explain(manifest, SPEC, 10, 1)
    assert "\n1 of the 2 views repeats another one" in explain(manifest, SPEC, 2, 1)
    assert "\n1 view: the clip below with the crop below\n" in explain(manifest, SPEC, 1, 1)


def test_explanation_takes_the_first_readable_video(tmp_path: Path) -> None:
    manifest = read_manifest(mixed_data(tmp_path), check=False).split("test")
    assert "long one.mp4" in explain(Manifest("", manifest.samples[1::-1], manifest.labels), SPEC, 1, 1)
    with pytest.raises(RunError, match="no video could be read"):
        explain(Manifest("d", manifest.samples[1:2], manifest.labels), SPEC, 1, 1)
