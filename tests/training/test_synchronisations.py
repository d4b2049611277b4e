"""How often a training step waits for its device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from kinema.training.config import Optim, TrainConfig
from kinema.training.module import Training
from kinema.training.run import train


class Reads(TorchDispatchMode):
    """Counts numbers that are read from tensors: each waits until the device has computed it."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            self.count += 1
        return func(*args, **(kwargs or {}))


def test_a_step_reads_no_number_that_it_has_computed(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures of the step before come in one copy. The moving average reads its counter once in a run."""
    counted: list[int] = []
    plain = Training.optimizer_step

    def look(self: Training, *args: Any) -> None:
        with Reads() as reads:
            plain(self, *args)
        counted.append(reads.count)

    monkeypatch.setattr(Training, "optimizer_step", look)
    given = TrainConfig(
        model="srtg_r3d_34", data=str(tiny), out=str(tmp_path / "run"), options={"width": 0.0625},
        clip={"frames": 8, "short_side": 36, "crop": 32}, epochs=1, batch=4, accumulate=2, workers=0, device="cpu",
        logger="csv", ema=0.9, label_smoothing=0.1, optim=Optim(lr=0.05),
    )  # fmt: skip
    train(given, say=str)
    assert counted == [1, 0]
