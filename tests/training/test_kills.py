"""`kill -9` at random moments, the same command again: the weights end with the same bits."""

from __future__ import annotations

import csv
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kinema.training.checkpoint import found
from kinema.training.run_log import read_metrics

RECIPE = """
model: stm_r18
options: {width: 0.0625, dropout: 0.5}
clip: {frames: 4, short_side: 40, crop: 32}
epochs: 12
batch: 2
accumulate: 2
keep: best
workers: 1
device: cpu
val_split: test
ema: 0.9
checkpoint_steps: 1
logger: none
photometric: {clips: 0.8}
optim: {name: adamw, lr: 0.002, weight_decay: 0.1, decay_bias_norm: false}
"""


def command(recipe: Path, data: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "kinema", "train", str(recipe), "--data", str(data), "--out", str(out)]


def checkpoints(out: Path) -> list[str]:
    return [p.name for p in found(out / "checkpoints")] if (out / "checkpoints").exists() else []


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_with_the_same_bits(kills: int, tiny: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(recipe, tiny, whole), check=True, capture_output=True, timeout=300)
    dice = random.Random(kills)
    steps_between = max(1, 36 // (kills + 1))
    for _ in range(kills):
        process = subprocess.Popen(
            command(recipe, tiny, killed), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        seen: set[str] = set(checkpoints(killed))
        new = 0
        while new < dice.randint(1, steps_between) and process.poll() is None:
            time.sleep(0.002)
            fresh = set(checkpoints(killed)) - seen
            new, seen = new + len(fresh), seen | fresh
        time.sleep(dice.random() * 0.15)  # anywhere within a step, the writing of its checkpoint included
        assert process.poll() is None, process.communicate()[0]
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = subprocess.run(command(recipe, tiny, killed), capture_output=True, text=True, timeout=300)
    assert last.returncode == 0, last.stderr
    assert "resuming from" in last.stdout
    assert not list((killed / "checkpoints").glob("*.damaged"))  # no checkpoint that could not be read
    for name in ("recognizer", "recognizer-last"):
        a, b = (load_file(run / name / "model.safetensors") for run in (whole, killed))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)
    rows, undisturbed = (read_metrics(run / "metrics.csv") for run in (killed, whole))
    for column in ("epoch", "step", "train_loss", "train_top1", "val_top1"):  # sums over all samples of an epoch
        assert [row[column] for row in rows] == [row[column] for row in undisturbed]
    assert len(rows) == 12
    with tiny.open(newline="") as file:
        assert rows[-1]["step"] == 12 * sum(row["split"] == "train" for row in csv.DictReader(file)) / 4
