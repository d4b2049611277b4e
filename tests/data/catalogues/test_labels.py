from __future__ import annotations

import re
from pathlib import Path

import pytest

from kinema.data.catalogues import NAMES
from kinema.data.catalogues.labels import FLIPS, LabelList, flip_map, from_indices, plain
from kinema.data.labels import read_labels
from kinema.errors import KinemaError

FILE = Path("/data/train.csv")
LIST = LabelList(("riding a bike", "abseiling", "Rock-paper-scissors"), "the list")


@pytest.mark.parametrize("name", sorted(NAMES))
def test_labels_stay_apart_without_punctuation(name: str) -> None:
    labels = read_labels(name)
    assert len({plain(label) for label in labels}) == len(labels)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_flips_are_the_pairs_of_left_and_right(name: str) -> None:
    """Found once more by exchanging the two words in every label."""
    labels = read_labels(name)
    swapped = [re.sub("left|right", lambda m: {"left": "right", "right": "left"}[m[0]], label) for label in labels]
    pairs = {(i, labels.index(s)) for i, s in enumerate(swapped) if s in labels and labels.index(s) > i}
    assert set(FLIPS.get(name, ())) == pairs
    both = flip_map(name)
    assert all(both[both[label]] == label != both[label] for label in both)
    assert len(both) == 2 * len(pairs)


def test_what_annotation_files_call_a_label() -> None:
    found = {"riding_a_bike": 2, "Abseiling": 3, "ROCK PAPER SCISSORS": 9}
    assert LIST.meanings(found, FILE) == dict(zip(found, LIST.names, strict=True))
    assert LIST.meanings({"0": 1, "2": 4, "01": 5}, FILE) == {
        "0": "riding a bike",
        "2": "Rock-paper-scissors",
        "01": "abseiling",
    }


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ({"1": 2, "3": 5}, r"/data/train.csv: its labels go from 1 to 3, but .* from 0 to 2: subtract 1"),
        ({"0": 2, "3": 5}, r"contains the label index 3, but those of the list go from 0 to 2"),
        ({"0": 2, "abseiling": 5}, r"line 2: the label is the index 0, but line 5 has the name 'abseiling'"),
        ({"abseiling": 2, "abseilin": 7}, r"line 7: unknown label 'abseilin': did you mean 'abseiling'\?"),
        ({"": 4}, r"line 4: unknown label ''"),
    ],
)
def test_labels_that_are_none(found: dict[str, int], sentence: str) -> None:
    with pytest.raises(KinemaError, match=sentence):
        LIST.meanings(found, FILE)


def test_numbered_labels() -> None:
    assert from_indices({"b": 1, " a ": 0}, FILE).names == ("a", "b")
    assert from_indices({"b": 2, "a": 1}, FILE, first=1).names == ("a", "b")
    for numbers, first, sentence in [
        ({"a": 1, "b": 2}, 0, "its labels start at 1 but must start at 0"),
        ({"a": 0, "b": 1}, 1, "its labels start at 0 but must start at 1"),
        ({"a": 0, "b": 2}, 0, "'b' has the number 2 instead of 1"),
        ({"a": 0, "b": 0}, 0, "'b' has the number 0 instead of 1"),
        ({}, 0, "is empty"),
    ]:
        with pytest.raises(KinemaError, match=sentence):
            from_indices(numbers, FILE, first=first)
