"""Several processes: every video is tested once whatever their number, and they train one network together."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from kinema.data.manifest import read_manifest
from kinema.models import create_model
from kinema.processes import Rank
from kinema.training.config import TrainConfig
from kinema.training.loading import Batches
from kinema.training.multigrid import all_steps
from kinema.training.run_log import read_metrics

TRAIN = [
    "--model", "stm_r18", "--options", "{width: 0.0625, dropout: 0.0}", "--clip",
    "{frames: 4, short_side: 40, crop: 32}", "--epochs", "2", "--batch", "4", "--workers", "0", "--device", "cpu",
    "--val_split", "test", "--logger", "none",
]  # fmt: skip


def kinema(*words: str, processes: int = 1, fails: bool = False) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-m"]
    if processes > 1:
        start += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [*start, "kinema", *words], capture_output=True, text=True, timeout=180,
        env=environment | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stderr + done.stdout
    return done


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("processes") / "run"
    kinema("train", *TRAIN, "--data", str(tiny), "--out", str(out))
    return out


@pytest.fixture(scope="module")
def hundred_and_one(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """101 rows of test videos, an odd number, one of which cannot be read."""
    folder = tmp_path_factory.mktemp("many")
    videos = sorted(tiny.parent.glob("test*.mp4"))
    rows = ["path,label,split"]
    for i in range(100):
        source = videos[i % len(videos)]
        copy = folder / f"{i:03d}.mp4"
        shutil.copy(source, copy)
        rows.append(f"{copy.name},{'go left' if 'left' in source.name else 'go right'},test")
    (folder / "broken.mp4").write_bytes(b"no video" * 50)
    rows.append("broken.mp4,go left,test")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder / "manifest.csv"


@pytest.mark.parametrize("processes", [2, 3])
def test_every_video_is_tested_once_and_the_figures_are_those_of_one_process(
    processes: int, run: Path, hundred_and_one: Path, tmp_path: Path
) -> None:
    words = ["test", str(run), "--data", str(hundred_and_one), "--workers", "0", "--device", "cpu"]
    kinema(*words, "--out", str(tmp_path / "one"))
    printed = kinema(*words, "--out", str(tmp_path / "more"), processes=processes).stdout
    assert printed.count("coverage") == 1  # one process speaks
    one, more = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "more"))
    assert more["metrics"] == one["metrics"]
    a, b = (pq.read_table(tmp_path / name / "scores.parquet").to_pylist() for name in ("one", "more"))
    assert len(a) == len(b) == 101
    assert [row["path"] for row in a] == [row["path"] for row in b]
    assert [row["prediction"] for row in a] == [row["prediction"] for row in b]
    assert (tmp_path / "more" / "ledger.csv").read_text() == (tmp_path / "one" / "ledger.csv").read_text()


def test_absent_videos_of_a_catalogue_are_told_once(run: Path, tiny: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "val").mkdir(parents=True)
    (data / "labels.txt").write_text("go left\ngo right\n")
    rows = ["label,youtube_id,time_start,time_end"]
    for i, source in enumerate(sorted(tiny.parent.glob("test*.mp4"))):
        rows.append(f"{'go left' if 'left' in source.name else 'go right'},video{i},0,10")
        if i not in (1, 4):
            shutil.copy(source, data / "val" / f"video{i}.mp4")
    (data / "val.csv").write_text("\n".join(rows) + "\n")
    words = ["test", str(run), "--data", f"kinetics400:{data}", "--workers", "0", "--device", "cpu", "--json"]
    told = json.loads(kinema(*words, "--out", str(tmp_path / "out"), processes=2).stdout)
    assert told["metrics"]["coverage"] == {"expected": 4, "read": 4, "failed": 0, "absent": 2}
    assert (tmp_path / "out" / "ledger.csv").read_text().splitlines() == [
        "path,error",
        'go left/video1_000000_000010,"absent, left out"',
        'go right/video4_000000_000010,"absent, left out"',
    ]


def test_two_processes_train_one_network_and_go_on_where_they_stopped(tiny: Path, tmp_path: Path) -> None:
    words = ["train", *TRAIN, "--data", str(tiny), "--checkpoint_steps", "1"]
    first = kinema(*words, "--out", str(tmp_path / "whole"), processes=2)
    assert first.stdout.count("epoch 2/2") == 1
    rows = read_metrics(tmp_path / "whole" / "metrics.csv")
    assert [row["step"] for row in rows] == [3, 6]  # twelve clips in batches of four, two of each to a process
    assert rows[-1]["val_videos"] == 6
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "recognizer")
    (tmp_path / "again" / "checkpoints" / "epoch-0002.ckpt").unlink()
    again = kinema(*words, "--out", str(tmp_path / "again"), processes=2)
    assert "epoch-0001+0002.ckpt" in again.stdout
    a, b = (load_file(tmp_path / name / "recognizer" / "model.safetensors") for name in ("whole", "again"))
    assert all(torch.equal(a[k], b[k]) for k in a)
    after = read_metrics(tmp_path / "again" / "metrics.csv")
    assert [row["train_loss"] for row in after] == [row["train_loss"] for row in rows]


def test_accumulated_steps_of_two_processes_are_those_of_one(tiny: Path, tmp_path: Path) -> None:
    """Of passes of two processes only the last one of a step waits for the other process."""
    words = ["train", *TRAIN, "--data", str(tiny), "--frozen_batchnorm", "true", "--keep", "best"]
    kinema(*words, "--out", str(tmp_path / "one"), "--batch", "12")
    kinema(*words, "--out", str(tmp_path / "two"), "--batch", "4", "--accumulate", "3", processes=2)
    for name in ("recognizer", "recognizer-last"):
        a, b = (load_file(tmp_path / run / name / "model.safetensors") for run in ("one", "two"))
        assert all(torch.allclose(a[k], b[k], rtol=1e-3, atol=1e-5) for k in a)
    one, two = (read_metrics(tmp_path / run / "metrics.csv")[-1] for run in ("one", "two"))
    assert one["train_loss"] == pytest.approx(two["train_loss"], rel=1e-4)
    assert (one["step"], one["val_top1"]) == (two["step"], two["val_top1"])


def test_lightning_starts_the_processes_itself(tiny: Path, tmp_path: Path) -> None:
    done = kinema("train", *TRAIN, "--data", str(tiny), "--out", str(tmp_path / "run"), "--processes", "2")
    assert done.stdout.count("recognizer saved") == 1
    assert [row["step"] for row in read_metrics(tmp_path / "run" / "metrics.csv")] == [3, 6]


def test_a_process_without_a_clip_or_a_video_takes_part(tiny: Path, tmp_path: Path) -> None:
    """Twelve clips in batches of five leave two for three processes, and two validation videos none for the third."""
    shutil.copytree(tiny.parent, tmp_path / "data")
    table = tmp_path / "data" / "manifest.csv"
    head, *rows = table.read_text().splitlines()
    tests = [row for row in rows if row.endswith(",test")]
    table.write_text("\n".join([head, *(row for row in rows if row not in tests[2:])]) + "\n")
    words = ["train", *TRAIN, "--data", str(table), "--out", str(tmp_path / "run"), "--batch", "5"]
    kinema(*words, "--twins.weight", "0.01", "--twins.gather", "true", processes=3)
    rows_of = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [(row["step"], row["val_videos"]) for row in rows_of] == [(3, 2), (6, 2)]
    tested = ["test", str(tmp_path / "run"), "--data", str(table), "--workers", "0", "--device", "cpu"]
    told = json.loads(kinema(*tested, "--json", "--strict", processes=3).stdout)  # one document of one process
    assert told["metrics"]["coverage"] == {"expected": 2, "read": 2, "failed": 0, "absent": 0}
    shown = kinema(*tested, "--explain-views", processes=2).stdout.splitlines()
    assert shown.count(shown[0]) == 1


def test_where_one_process_fails_the_others_end_in_a_sentence(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.parent, tmp_path / "data")
    samples = read_manifest(tmp_path / "data" / "manifest.csv").split("train").samples
    given = TrainConfig("stm_r18", "data", batch=4)
    steps = all_steps(given.multigrid, epochs=1, samples=len(samples), batch=4, frames=4, crop=32)
    first = next(iter(Batches(steps, [0] * len(samples), given, Rank(0, 2))))
    broken = Path(samples[first[0].sample].path)  # which the first process meets, and the second one does not
    broken.write_bytes(b"no video" * 50)
    words = ["train", *TRAIN, "--data", str(tmp_path / "data" / "manifest.csv"), "--out", str(tmp_path / "run")]
    done = kinema(*words, "--processes", "2", "--strict", "true", fails=True)
    assert f"kinema: {broken}: " in done.stderr
    assert "Traceback" not in done.stderr


def test_where_no_process_can_read_a_clip_no_weight_moves(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.parent, tmp_path / "data")
    for path in (tmp_path / "data").glob("train*.mp4"):
        path.write_bytes(b"no video" * 50)
    words = ["train", *TRAIN, "--data", str(tmp_path / "data" / "manifest.csv"), "--out", str(tmp_path / "run")]
    done = kinema(*words, "--optim.weight_decay", "0.1", processes=2, fails=True)
    assert "no video of the split 'train' could be read" in done.stderr
    assert "epoch 1/2: no clip could be read, " in done.stdout
    torch.manual_seed(0)
    built = create_model("stm_r18", num_classes=2, frames=4, width=0.0625, dropout=0.0).state_dict()
    saved = torch.load(tmp_path / "run" / "checkpoints" / "epoch-0002.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(saved[f"model.{name}"], value) for name, value in built.items())


def test_bad_data_is_one_sentence(tmp_path: Path) -> None:
    done = kinema("train", *TRAIN, "--data", str(tmp_path / "nowhere"), processes=2, fails=True)
    said = [line for line in done.stderr.splitlines() if line.startswith("kinema: ")]
    assert len(said) == 1  # and not once for each process
    assert "no folder or CSV" in said[0]
