"""Videos with several labels: from a CSV over a training to a test, predictions and a resume."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from kinema.cli import main
from kinema.data.label_sets import joined, label_set
from kinema.data.manifest import read_manifest
from kinema.data.transforms import Augment
from kinema.errors import KinemaError
from kinema.evaluation import run_test
from kinema.recognizer import Recognizer
from kinema.training.config import Optim, TrainConfig
from kinema.training.run import train
from kinema.training.run_log import read_metrics

SHOWN = ("go left", "go right", "go left;go right", ";")  # of the squares in a video
Rows = list[tuple[str, str, str]]


def two_squares(rng: np.random.Generator, label: str, frames: int = 8, size: int = 40) -> np.ndarray:
    """A red square moves to the left in the upper half, a green one to the right in the lower half, both or none."""
    clip = rng.integers(0, 50, (frames, size, size, 3), dtype=np.uint8)
    for t in range(frames):
        at = 2 + t * (size - 14) // (frames - 1)
        if "go left" in label:
            clip[t, 4:14, size - 12 - at : size - 2 - at] = (250, 30, 30)
        if "go right" in label:
            clip[t, 24:34, at : at + 10] = (30, 250, 30)
    return clip


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 training and 8 test videos of none, one or two squares."""
    from tiny import write_video

    folder, rng, rows = tmp_path_factory.mktemp("squares"), np.random.default_rng(2), []
    for split, count in (("train", 6), ("test", 2)):
        for label in SHOWN:
            for i in range(count):
                name = f"{split} {SHOWN.index(label)} {i}.mp4"
                write_video(folder / name, two_squares(rng, label))
                rows.append((name, label, split))
    write(folder, rows)
    return folder


def write(folder: Path, rows: Rows) -> Path:
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    return folder / "manifest.csv"


def config(data: Path, out: Path, **changes: object) -> TrainConfig:
    base = TrainConfig(
        model="tsn_r18", data=str(data), out=str(out), options={"width": 0.125, "dropout": 0.0},
        clip={"frames": 2, "short_side": 40, "crop": 32}, epochs=8, batch=8, workers=0, device="cpu",
        optim=Optim(name="adamw", lr=0.003, weight_decay=0.01), augment=Augment(flip=0), logger="none",
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training on the squares."""
    out = tmp_path_factory.mktemp("several") / "run"
    return train(config(squares, out, val_split="test", keep="best"), say=str)


def test_it_learns_and_its_figure_is_scikit_learns(run: Path, squares: Path) -> None:
    tested = run_test(run, squares, workers=0, force=True)
    figures = tested.result.set_metrics
    assert figures.mean_ap > 0.95
    assert figures.chance == 0.5
    document = json.loads((run / "test-test" / "metrics.json").read_text())
    assert document["multi_label"]
    assert document["metrics"]["mean_ap"] == figures.mean_ap
    assert document["protocol"]["fusion"] == "sigmoid scores averaged over views"
    rows = pq.read_table(run / "test-test" / "scores.parquet").to_pylist()
    truth = np.array([[label in label_set(row["label"]) for label in ("go left", "go right")] for row in rows])
    scores = np.array([row["scores"] for row in rows])
    assert not np.allclose(scores.sum(1), 1, atol=0.05)
    metrics = pytest.importorskip("sklearn.metrics")
    wanted = metrics.average_precision_score(truth, scores, average="macro")
    assert figures.mean_ap == pytest.approx(wanted, abs=1e-9)


def test_the_curve_and_the_choice_are_by_the_map(run: Path) -> None:
    rows = read_metrics(run / "metrics.csv")
    figures = [row["val_map"] for row in rows]
    chosen = Recognizer.load(run).card["training"]["selection"]
    assert chosen["figure"] == "val_map"
    assert chosen["value"] == max(figures) == figures[chosen["epoch"] - 1]
    assert chosen["epoch"] == 1 + figures.index(max(figures))
    assert Recognizer.load(run).card["training"]["config"]["loss"] == "binary"


def test_labels_above_a_threshold_are_predicted(run: Path, squares: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = [str(squares / f"test {kind} 0.mp4") for kind in range(4)]
    words = ["predict", str(run), *videos, "--workers", "0"]
    assert main([*words, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [row["labels"] for row in rows]
    assert found == [[label for label, score in row["top_k"] if score >= 0.5] for row in rows]
    assert "go left" in found[0]
    assert len({tuple(labels) for labels in found}) > 1
    for threshold, count in (("0", 2), ("1", 0)):
        assert main([*words, "--json", "--threshold", threshold]) == 0
        assert {len(json.loads(line)["labels"]) for line in capsys.readouterr().out.splitlines()} == {count}
    assert main([*words, "--csv"]) == 0
    cells = [row["labels"] for row in csv.DictReader(capsys.readouterr().out.splitlines())]
    assert cells == [joined(labels) for labels in found]
    assert main(words) == 0
    assert main([*words, "--threshold", "1.5"]) == 2
    assert "--threshold 1.5" in capsys.readouterr().err


def test_an_unreadable_video_is_missed(run: Path, squares: Path, tmp_path: Path) -> None:
    data = shutil.copytree(squares, tmp_path / "data")
    (data / "test 2 0.mp4").write_bytes(b"no video")
    figures = run_test(run, data, out=tmp_path / "out", workers=0).result.set_metrics
    assert (figures.coverage.expected, figures.coverage.failed) == (8, 1)
    assert all((c.videos, c.failed) == (4, 1) and (c.average_precision or 0) <= 0.75 for c in figures.per_class)


def test_one_label_per_video_of_the_same_clips(run: Path, squares: Path, tmp_path: Path) -> None:
    """The same videos with their sets of labels as classes, and a test of each on the data of the other."""
    data = shutil.copytree(squares, tmp_path / "data")
    rows = [
        (s.path, {";": "nothing", "go left;go right": "both"}.get(s.label, s.label), str(s.split))
        for s in read_manifest(squares).samples
    ]
    write(data, rows)
    single = train(config(data, tmp_path / "single"), say=str)
    assert not Recognizer.load(single).multi_label
    assert run_test(single, data, workers=0).result.metrics.top1 > 0.7
    with pytest.raises(KinemaError, match=r"has several labels per video .*but this recognizer predicts one"):
        run_test(single, squares, workers=0, out=tmp_path / "x")
    ones = [(path, label, split) for path, label, split in rows if label in ("go left", "go right")]
    write(data, ones)
    assert run_test(run, data, workers=0, out=tmp_path / "y").result.set_metrics.mean_ap > 0.9
    binary = train(config(data, tmp_path / "binary", loss="binary", epochs=1), say=str)
    assert Recognizer.load(binary).multi_label
    with pytest.raises(KinemaError, match=r"--threshold 0\.5: .*one label per video"):
        main(["--debug", "predict", str(single), rows[0][0], "--threshold", "0.5"])


def test_mirrored_clips_swap_each_label(squares: Path, tmp_path: Path) -> None:
    from kinema.clip_spec import ClipSpec
    from kinema.data.datasets import ClipKey, LabelSet, TrainClips, collate_train

    data = shutil.copytree(squares, tmp_path / "data")
    (data / "flip_map.json").write_text('{"go left": "go right"}', encoding="utf-8")
    manifest = read_manifest(data).split("train")
    assert (manifest.labels, manifest.multi_label) == (("go left", "go right"), True)
    clips = TrainClips(manifest, manifest.labels, ClipSpec(frames=2, short_side=40, crop=32), Augment(flip=1))
    chosen = [next(i for i, s in enumerate(manifest.samples) if s.label == label) for label in SHOWN]
    batch = collate_train([clips[ClipKey(0, i, 2, 32)] for i in chosen])
    assert batch["label"].tolist() == [[0, 1], [1, 0], [1, 1], [0, 0]]
    assert batch["label"].dtype == torch.float32
    assert clips.targets[chosen[2]] == LabelSet((0, 1), 2)


@pytest.mark.parametrize(
    ("rows", "changes", "sentence"),
    [
        (None, {"loss": "cross_entropy"}, "loss"),
        (None, {"balance": "classes"}, "several labels.*balance"),
        ([("test 0 0.mp4", "a;b", "train"), ("test 0 0.mp4", "c", "train")], {}, "line 3.*'a;b;c' in one line"),
        ([("test 0 0.mp4", "a;b", "train"), ("test 0 1.mp4", "", "train")], {}, "line 3.*label is empty"),
        ([("test 0 0.mp4", "a;b", "train"), ("test 0 0.mp4", "b; a", "train")], {}, "line 3.*repeats line 2"),
    ],
)
def test_what_several_labels_do_not_go_with_is_refused(
    rows: Rows | None, changes: dict[str, Any], sentence: str, squares: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(squares, tmp_path / "data")
    if rows is not None:
        write(data, rows)
    with pytest.raises(KinemaError, match=sentence):
        train(config(data, tmp_path / "run", **changes), say=str)
    assert not (tmp_path / "run").exists()


def test_labels_of_a_file_are_single_ones_and_a_video_of_none_counts(squares: Path, tmp_path: Path) -> None:
    data = shutil.copytree(squares, tmp_path / "data")
    (data / "labels.txt").write_text("go right\ngo left\n", encoding="utf-8")
    assert read_manifest(data).labels == ("go right", "go left")
    (data / "labels.txt").write_text("go right\n", encoding="utf-8")
    with pytest.raises(KinemaError, match=r"labels\.txt.*'go left'"):
        read_manifest(data)
    write(data, [(s.path, s.label, "") for s in read_manifest(squares).samples])
    (data / "labels.txt").unlink()
    manifest = read_manifest(data)
    assert len(manifest.split("test").samples) == round(0.2 * 32)
