"""Gradients that are added up over several passes are those of the large batch."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from kinema.data.photometric import Photometric
from kinema.errors import KinemaError
from kinema.models.video_model import VideoModel
from kinema.training.config import Optim, TrainConfig
from kinema.training.multigrid import Multigrid, plan
from kinema.training.run import train
from kinema.training.run_log import read_metrics
from kinema.training.twins import Twins


def config(data: Path, out: Path, **changes: object) -> TrainConfig:
    base = TrainConfig(
        model="tsn_r18", data=str(data), out=str(out), options={"width": 0.0625, "dropout": 0.0},
        clip={"frames": 2, "short_side": 36, "crop": 32}, epochs=2, batch=6, workers=0, device="cpu",
        optim=Optim(lr=0.05), logger="none", frozen_batchnorm=True,
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def weights(run: Path) -> dict[str, Tensor]:
    return load_file(run / "recognizer" / "model.safetensors")


def close(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.allclose(a[k], b[k], rtol=1e-4, atol=1e-6) for k in a)


def test_it_is_the_large_batch_also_where_a_video_cannot_be_read(tiny: Path, tmp_path: Path) -> None:
    data = shutil.copytree(tiny.parent, tmp_path / "data")
    (data / "train go left 3.mp4").write_bytes(b"no video")
    random = {"mixup": 0.5, "label_smoothing": 0.1, "photometric": Photometric(clips=0.7)}
    large = train(config(data, tmp_path / "large", **random), say=str)
    parts = train(config(data, tmp_path / "parts", batch=2, accumulate=3, **random), say=str)
    small = train(config(data, tmp_path / "small", batch=2, **random), say=str)
    assert close(weights(large), weights(parts))
    assert not close(weights(large), weights(small))
    first, second = (read_metrics(run / "metrics.csv") for run in (large, parts))
    assert [row["step"] for row in first] == [row["step"] for row in second] == [2, 4]
    for name in ("train_loss", "train_top1", "lr"):
        assert [row[name] for row in first] == pytest.approx([row[name] for row in second], rel=1e-5)


def passes(given: TrainConfig, patch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of what the network is given in a training."""
    seen: list[tuple[int, ...]] = []
    plain = VideoModel.forward

    def look(self: VideoModel, x: Tensor, *rest: Any) -> Tensor:
        seen.append(tuple(x.shape))
        return plain(self, x, *rest)

    patch.setattr(VideoModel, "forward", look)
    train(given, say=str)
    return seen


def test_the_passes_of_multigrid_are_its_batches_in_parts(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Multigrid("short")
    given = config(tiny, tmp_path / "run", multigrid=grid, batch=1, accumulate=2, epochs=1, frozen_batchnorm=False)
    steps = plan(grid, samples=12, batch=2, frames=2, crop=32)
    wanted = []
    for step in steps:
        size = max(1, -(-step.clips // 2))
        sizes = [size] * (step.clips // size) + ([step.clips % size] if step.clips % size else [])
        wanted += [(n, 3, 2, step.crop, step.crop) for n in sizes]
    assert passes(given, monkeypatch) == wanted
    assert {shape[0] for shape in wanted} == {1, 4}


def test_a_last_clip_joins_the_pass_before(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = config(tiny, tmp_path / "run", batch=2, accumulate=4, epochs=1)
    assert [shape[0] for shape in passes(given, monkeypatch)] == [2, 2, 2, 2, 2, 2]
    given = config(tiny, tmp_path / "odd", batch=3, accumulate=2, epochs=1)
    assert [shape[0] for shape in passes(given, monkeypatch)] == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"accumulate": 0}, "accumulate is 0: give at least 1"),
        ({"accumulate": -2}, "accumulate is -2"),
        ({"accumulate": 2, "twins": Twins(weight=0.1, gather=True)}, r"twins\.gather"),
    ],
)
def test_what_cannot_be_accumulated_is_refused(changes: dict, sentence: str) -> None:
    with pytest.raises(KinemaError, match=sentence):
        TrainConfig("tsn_r18", "data", **changes)
