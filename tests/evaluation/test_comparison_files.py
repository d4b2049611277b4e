"""The files of a comparison, written from Python."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from evaluation.made_tests import made_test

from kinema.errors import KinemaError
from kinema.evaluation.comparison import compare
from kinema.evaluation.comparison_files import write_comparison

TRUTH = ("a", "b", "c", "c")
FIRST = made_test("A", TRUTH, ("a", "a", None, "c"), paths=("x, y.mp4", "ü.mp4", "z.mp4", "w.mp4"))
SECOND = made_test("B", TRUTH, ("b", "b", None, "c"), paths=("x, y.mp4", "ü.mp4", "z.mp4", "w.mp4"))


def test_the_videos_that_one_alone_gets_right_are_listed(tmp_path: Path) -> None:
    found = compare(FIRST, SECOND)
    for _ in range(2):  # the same comparison again replaces its files
        write_comparison(tmp_path / "new" / "folder", FIRST, SECOND, found)
    with (tmp_path / "new" / "folder" / "disagreements.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["path", "start", "end", "label", "A", "B"],
        ["x, y.mp4", "", "", "a", "a", "b"],
        ["ü.mp4", "", "", "b", "a", "b"],
    ]
    values = json.loads((tmp_path / "new" / "folder" / "comparison.json").read_text("utf-8"))
    assert values == json.loads(json.dumps(found.to_dict()))


@pytest.mark.parametrize("text", [None, "{", "[]", '{"first": {"scores": 3}, "second": {}}'])
def test_files_of_something_else_are_kept(text: str | None, tmp_path: Path) -> None:
    if text is None:
        write_comparison(tmp_path, SECOND, FIRST, compare(SECOND, FIRST))
    else:
        (tmp_path / "comparison.json").write_text(text, "utf-8")
    before = (tmp_path / "comparison.json").read_bytes()
    with pytest.raises(KinemaError, match="holds another comparison"):
        write_comparison(tmp_path, FIRST, SECOND, compare(FIRST, SECOND))
    assert (tmp_path / "comparison.json").read_bytes() == before


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(KinemaError, match="out: is a file"):
        write_comparison(tmp_path / "out", FIRST, SECOND, compare(FIRST, SECOND))
