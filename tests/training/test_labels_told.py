"""What a training and a test say of labels: never trained, ordered by a guess."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny import moving_square, write_video

from kinema.cli import main
from kinema.data.doctor.checks import check_labels
from kinema.data.label_remarks import label_remarks
from kinema.data.manifest import read_manifest
from kinema.models import create_model
from kinema.recognizer import Recognizer

TRAIN = [
    "--model", "stm_r18", "--options", "{width: 0.0625, dropout: 0.0}", "--clip",
    "{frames: 4, short_side: 40, crop: 32}", "--epochs", "1", "--batch", "4", "--workers", "0", "--device", "cpu",
    "--logger", "none",
]  # fmt: skip


def data_set(folder: Path, rows: list[tuple[str, str]]) -> Path:
    """One video per (label, split)."""
    folder.mkdir()
    for i in range(len(rows)):
        write_video(folder / f"{i}.mp4", moving_square(np.random.default_rng(i), bool(i % 2), frames=6))
    with (folder / "data.csv").open("w", newline="", encoding="utf-8") as file:
        table = ((f"{i}.mp4", label, split) for i, (label, split) in enumerate(rows))
        csv.writer(file).writerows([("path", "label", "split"), *table])
    return folder / "data.csv"


def lines(text: str, beginning: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(beginning)]


def test_a_label_that_is_tested_and_never_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("wave", "train"), ("run", "train"), ("sit", "train")] * 2 + [("Wave", "test"), ("run", "test")]
    data = data_set(tmp_path / "data", rows)
    assert {"label-in-one-split"} < {f.code for f in check_labels(read_manifest(data))}  # an error for the doctor
    run = tmp_path / "run"
    assert main(["train", *TRAIN, "--data", str(data), "--out", str(run)]) == 0
    out = capsys.readouterr().out
    (warning,) = lines(out, "warning: ")
    assert "1 label without a training video ('Wave' in test, did you mean 'wave'?)" in warning
    (note,) = lines(out, "note: 'test'")
    assert "'sit'" in note
    card = json.loads((run / "recognizer" / "card.json").read_text())
    assert card["training"]["labels_without_training_videos"] == ["Wave"]
    assert main(["test", str(run), "--data", str(data), "--workers", "0"]) == 0
    (warning,) = lines(capsys.readouterr().err, "warning: ")
    assert "'Wave' in test" in warning
    other = tmp_path / "data" / "other.csv"  # names no training split: the card tells
    other.write_text("path,label,split\n6.mp4,Wave,test\n")
    assert main(["test", str(run), "--data", str(other), "--workers", "0", "--out", str(tmp_path / "t")]) == 0
    assert len(lines(capsys.readouterr().err, "warning: ")) == 1


@pytest.mark.parametrize("other", ["Wave", "wave ", "w\uff41ve", "wave_", "WAVE!", "wa ve"])
def test_near_spellings_are_offered(other: str) -> None:
    (warning,) = label_remarks({"wave"}, {"test": {other, "wave"}, "val": {other, "wave"}})
    assert "in test and val, did you mean 'wave'?" in warning
    assert "\n" not in warning


def test_many_labels_stay_one_line_and_all_is_well_says_nothing() -> None:
    (warning,) = label_remarks({"a"}, {"test": {"a", *(f"label {i}" for i in range(9))}})
    assert "9 labels" in warning
    assert "4 others" in warning
    assert label_remarks({"a", "b"}, {"test": {"a", "b"}, "val": {"b", "a"}}) == []
    (note,) = label_remarks({"a", "b"}, {"test": {"a"}, "val": {"b", "a"}})
    assert note.startswith("note: 'test' has no video of 1 label ('b')")


@pytest.mark.parametrize("stated", [False, True])
def test_outputs_of_a_file_are_mapped_to_labels_by_number_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stated: bool
) -> None:
    data = data_set(tmp_path / "data", [(str(i), "train") for i in range(12)])
    if stated:
        (tmp_path / "data" / "labels.txt").write_text("".join(f"{i}\n" for i in range(12)))
    torch.manual_seed(3)
    model = create_model("stm_r18", num_classes=12, frames=4, width=0.0625)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "weights.safetensors")
    words = ["--weights", str(tmp_path / "weights.safetensors"), "--optim.lr", "1e-12", "--data", str(data)]
    assert main(["train", *TRAIN, *words, "--out", str(tmp_path / "run")]) == 0
    found = Recognizer.load(tmp_path / "run")
    assert found.labels == tuple(str(i) for i in range(12))
    assert torch.allclose(found.model.classifier.weight, model.classifier.weight, atol=1e-4)
    told = lines(capsys.readouterr().out, "warning: ")
    assert len(told) == (0 if stated else 1)
    for line in told:
        assert "0 is '0', 1 is '1', 2 is '2', …, 11 is '11'" in line
        assert "labels.txt" in line


@pytest.mark.filterwarnings("default::kinema.errors.KinemaWarning")  # the command prints it
def test_a_file_of_labels_in_the_order_of_text_is_doubted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = create_model("stm_r18", num_classes=12, frames=4, width=0.0625)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "weights.safetensors")
    (tmp_path / "labels.txt").write_text("\n".join(sorted(map(str, range(12)))))
    main(["weights", "import", str(tmp_path / "weights.safetensors"), "--model", "stm_r18", "--options",
          "{frames: 4, width: 0.0625}", "--labels", str(tmp_path / "labels.txt")])  # fmt: skip
    assert "output 2 is called '10'" in capsys.readouterr().err
