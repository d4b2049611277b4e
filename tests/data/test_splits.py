from __future__ import annotations

import pytest

from kinema.data.manifest import Manifest
from kinema.data.sources import Sample
from kinema.data.splits import is_training, split_to_test, training_split
from kinema.errors import KinemaError


def manifest(*splits: str, absent: tuple[str, ...] = ()) -> Manifest:
    samples = tuple(Sample(f"{i}.mp4", "sit", split) for i, split in enumerate(splits))
    return Manifest("d.csv", samples, ("sit",), absent=dict.fromkeys(absent, ("x",)))


@pytest.mark.parametrize(
    ("splits", "chosen"),
    [
        (("train", "val", "test"), "test"),
        (("train", "validation"), "validation"),
        (("Train", "Val", "Test"), "Test"),
        (("TRAINING", "VALID"), "VALID"),
        (("testing", "val"), "testing"),
        (("train", "test", "testing"), "test"),
    ],
)
def test_without_a_name_test_comes_before_val(splits: tuple[str, ...], chosen: str) -> None:
    assert split_to_test(manifest(*splits)) == chosen


def test_the_split_that_is_named_is_taken_as_it_is_spelt() -> None:
    data = manifest("train", "test", "speed", absent=("hidden",))
    for name in ("train", "speed", "hidden", "all"):
        assert split_to_test(data, name) == name
    for name in ("Test", "sped", ""):
        with pytest.raises(KinemaError, match=r"split of d\.csv"):
            split_to_test(data, name)


def test_data_without_a_test_split_list_what_they_have() -> None:
    with pytest.raises(KinemaError, match=r"d\.csv has no split test or val: .*: one, two, all"):
        split_to_test(manifest("one", "two"))


def test_a_split_of_absent_videos_alone_is_still_the_test_split() -> None:
    assert split_to_test(manifest("train", "val", absent=("test",))) == "test"


def test_training_splits_are_known_in_any_capitals() -> None:
    assert training_split(manifest("test", "Training")) == "Training"
    assert training_split(manifest("test", "training_1")) is None
    assert [is_training(name) for name in ("train", "TRAIN", "trainval", "test", None)] == [
        True,
        True,
        False,
        False,
        False,
    ]
