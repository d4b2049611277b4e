"""Training and testing from shards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import torch
from data.shards.moving import to_be_sharded
from safetensors.torch import load_file

from kinema.cli import main
from kinema.data.packing.pack import pack
from kinema.training.config import Optim, TrainConfig
from kinema.training.run import train


def test_training_from_shards_gives_the_bits_of_training_from_files(tiny: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        model="tsn_r18", data="", options={"width": 0.0625}, clip={"frames": 2, "short_side": 36, "crop": 32}, epochs=2,
        batch=6, workers=0, device="cpu", optim=Optim(lr=0.05), logger="none",
    )  # fmt: skip
    weights, scores = [], []
    pack(tiny, tmp_path / "files", short_side=40, workers=1)
    pack(tiny, to_be_sharded(tmp_path / "files", tmp_path / "shards"), short_side=40, shards=True, workers=1)
    for name in ("files", "shards"):
        run = tmp_path / f"run {name}"
        train(replace(config, data=str(tmp_path / name), out=str(run)), say=str)
        weights.append(load_file(run / "recognizer" / "model.safetensors"))
        words = ["test", str(run), "--data", str(tmp_path / name), "--workers", "2", "--device", "cpu"]
        assert main([*words, "--out", str(tmp_path / f"test {name}")]) == 0
        scores.append(pq.read_table(tmp_path / f"test {name}" / "scores.parquet").drop_columns(["path"]))
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert len(scores[0]) == 6
    assert scores[0].equals(scores[1])
