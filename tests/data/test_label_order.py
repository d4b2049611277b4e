"""Labels that are numbers, their order, and labels that look alike."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from tiny import moving_square, write_video

from kinema.data.doctor.examine import examine
from kinema.data.label_order import look_alike, numbers_as_text, ordered, outputs, plain
from kinema.data.manifest import read_manifest, survey
from kinema.data.packing.pack import pack


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        ([str(i) for i in range(12)], "number"),
        ([str(i) for i in range(1, 101)], "number"),
        (["-10", "-2", "-1", "0", "3", "11"], "number"),
        (["0.5", "1.0", "1.25", "10.0"], "number"),
        (["000", "001", "010", "100"], "number"),
        (["01", "1", "2", "10"], "number"),
        ([f"class_{i}" for i in (0, 2, 10, 11)], "number"),
        (["9th", "10th", "100th"], "number"),
        (["10", "2", "background"], "text"),
        (["class_10", "group_2"], "text"),
        (["a1b10", "a1b2"], "text"),
        (["1e3", "inf", "nan"], "text"),
        (["jump", "run", "walk"], "text"),
    ],
)
def test_order(labels: list[str], order: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        assert ordered(rng.permutation(labels).tolist()) == (tuple(labels), order)


def test_outputs_and_labels_ordered_as_text() -> None:
    labels = [str(i) for i in range(12)]
    assert outputs(labels) == "0 is '0', 1 is '1', 2 is '2', …, 11 is '11'"
    assert numbers_as_text(sorted(labels)) == "10"
    assert numbers_as_text(labels) is None
    assert numbers_as_text(labels[::-1]) is None  # somebody's own order
    assert numbers_as_text(["a", "b"]) is None


def test_look_alikes() -> None:
    alike = [("Wave", "wave"), ("wave hand", "Wave_hand"), ("w\uff41ve", "wave"), ("wave\u200b", "wave"), ("01", "1"),
             ("1.0", "1")]  # fmt: skip
    for one, other in alike:
        assert look_alike(one, {"zzz", other}) == other
    for one, other in (("1", "-1"), ("1", "10"), ("0.5", "05"), ("wave", "waves")):
        assert plain(one) != plain(other)


def rows(folder: Path, labels: list[str]) -> Path:
    for i in range(len(labels)):
        (folder / f"{i}.mp4").touch()
    with (folder / "data.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label"), *((f"{i}.mp4", label) for i, label in enumerate(labels))])
    return folder / "data.csv"


def test_a_guessed_order_is_told_until_a_file_states_it(tmp_path: Path) -> None:
    file = rows(tmp_path, [str(i) for i in range(12)])
    found = survey(file)
    assert found.manifest.labels == tuple(str(i) for i in range(12))
    assert found.manifest.order == "number"
    (finding,) = found.findings
    assert (finding.severity, finding.code) == ("warning", "label-order")
    assert "labels.txt" in finding.message
    (tmp_path / "labels.txt").write_text("".join(f"{i}\n" for i in range(12)))
    assert survey(file).findings == ()
    assert read_manifest(file).order == "file"
    (tmp_path / "labels.txt").write_text("".join(f"{i}\n" for i in sorted(map(str, range(12)))))
    (finding,) = survey(file).findings
    assert (finding.code, "'10' is output 2" in finding.message) == ("label-order", True)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\x0b", "\x85", " \n  "])
def test_a_label_with_a_line_break_is_one_label_everywhere(tmp_path: Path, end: str) -> None:
    data = tmp_path / "data"
    for i in range(4):
        write_video(data / f"{i}.mp4", moving_square(np.random.default_rng(i), bool(i % 2)))
    with (data / "data.csv").open("w", newline="", encoding="utf-8") as file:
        labels = [f"wave{end}hand", "run"] * 2
        csv.writer(file).writerows([("path", "label"), *((f"{i}.mp4", label) for i, label in enumerate(labels))])
    manifest = read_manifest(data / "data.csv")
    assert manifest.labels == ("run", "wave hand")
    assert examine(data / "data.csv", deep=False).labels == manifest.labels
    pack(data / "data.csv", tmp_path / "packed", short_side=32, workers=1)
    packed = read_manifest(tmp_path / "packed")
    assert packed.labels == manifest.labels
    assert [s.label for s in packed.samples] == [s.label for s in manifest.samples]
