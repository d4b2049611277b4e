"""Run folders as `kinema train` and `kinema test` leave them, made without training."""

from __future__ import annotations

from pathlib import Path

import yaml
from evaluation.mixed_data import recognizer

from kinema.data.manifest import read_manifest
from kinema.evaluation import evaluate, write_results
from kinema.evaluation.results import Test

HEAD = "epoch,step,lr,train_loss,train_top1,val_top1,val_videos,seconds,data_wait"


def made_run(
    folder: Path, data: Path, *, seed: int = 0, tested: bool = True, finished: bool = True, epochs: int = 3
) -> Path:
    """A run on `mixed_data`; `seed` decides its weights."""
    folder.mkdir(parents=True)
    config = {"model": "tsm_r18", "data": str(data), "epochs": epochs, "seed": seed, "optim": {"lr": 0.1}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    rows = [f"{e},{2 * e},{0.1 / e},{2.5 / e},{0.2 * e},{0.1 * e},6,{10 + e},0.25" for e in range(1, epochs + 1)]
    (folder / "metrics.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    net = recognizer(seed=seed)
    if finished:
        net.card = {"training": {"config": config, "coverage": {"expected": 4, "read": 3, "failed": 1}}}
        net.save(folder / "recognizer")
        (folder / "training-ledger.csv").write_text("path,error\nbad <one>.mp4,it is empty\n")
    if tested:
        result = evaluate(net, read_manifest(data, check=False).split("test"), views=(2, 1), workers=0)
        write_results(folder / "test-test", result, net, Test(str(folder), str(data), "test", "2x1"))
    return folder
