"""Training from a configuration to a recognizer: what it learns, leaves behind, refuses and takes up again."""

from __future__ import annotations

import csv
import hashlib
import resource
import shutil
import signal
from dataclasses import replace
from math import cos, pi
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from kinema.data.transforms import Augment
from kinema.errors import KinemaError, RunError
from kinema.recognizer import Recognizer
from kinema.training.checkpoint import done, found
from kinema.training.config import Optim, TrainConfig
from kinema.training.module import Training
from kinema.training.run import train
from kinema.training.run_log import read_metrics


def config(data: Path, out: Path, **changes: object) -> TrainConfig:
    base = TrainConfig(
        model="stm_r18",
        data=str(data),
        out=str(out),
        options={"width": 0.125, "dropout": 0.5},
        clip={"frames": 4, "short_side": 40, "crop": 32},
        epochs=3,
        batch=4,
        workers=0,
        device="cpu",
        optim=Optim(lr=0.05, warmup=0.5),
        augment=Augment(scale="jitter", jitter=(32, 44)),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def weights(run: Path) -> dict[str, Tensor]:
    return load_file(run / "recognizer" / "model.safetensors")


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class Stop(Exception):
    """Stands for whatever ends a run in the middle."""


@pytest.fixture(scope="module")
def whole(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    lines: list[str] = []
    run = train(config(tiny, tmp_path_factory.mktemp("runs") / "whole", val_split="test"), say=lines.append)
    assert sum(line.startswith("epoch ") and line.endswith("left") for line in lines) == 3
    return run


def test_a_run_folder_holds_what_the_contract_names(whole: Path, tiny: Path) -> None:
    assert {p.name for p in whole.iterdir()} >= {
        "config.yaml",
        "metrics.csv",
        "checkpoints",
        "recognizer",
        "tensorboard",
    }
    assert list((whole / "tensorboard").glob("events*"))
    assert yaml.safe_load((whole / "config.yaml").read_text())["optim"]["lr"] == 0.05
    rows = read_metrics(whole / "metrics.csv")
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["step"] for row in rows] == [3, 6, 9]
    assert all(row["val_videos"] == 6 and 0 <= row["data_wait"] <= 1 for row in rows)
    assert 0 < rows[-1]["lr"] < rows[0]["lr"] / 10  # of the last step; the cosine is zero only after it
    recognizer = Recognizer.load(whole)
    assert recognizer.labels == ("go left", "go right")
    assert recognizer.spec.crop == 32
    training = recognizer.card["training"]
    assert training["coverage"] == {"expected": 12, "read": 12, "failed": 0, "absent": 0}
    assert training["config"]["seed"] == 0


def test_the_same_configuration_gives_the_same_bits(whole: Path, tiny: Path, tmp_path: Path) -> None:
    assert same(weights(whole), weights(train(config(tiny, tmp_path / "again", val_split="test"), say=str)))
    other = train(config(tiny, tmp_path / "other", val_split="test", seed=1), say=str)
    assert not same(weights(whole), weights(other))


def test_worker_processes_change_no_bit(whole: Path, tiny: Path, tmp_path: Path) -> None:
    assert same(weights(whole), weights(train(config(tiny, tmp_path / "w", val_split="test", workers=2), say=str)))


@pytest.mark.parametrize(("step", "workers", "every"), [(2, 0, 9), (4, 0, 9), (8, 0, 9), (8, 2, 9), (3, 0, 1),
                                                        (6, 2, 1), (8, 0, 2)])  # fmt: skip
def test_a_run_that_was_cut_off_ends_with_the_same_bits(
    whole: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, workers: int, every: int
) -> None:
    """In the first epoch, inside the second, and in the last: the same command again, the same weights."""
    plain, steps = Training.training_step, 0

    def cut(self: Training, batch: dict, batch_idx: int) -> Tensor | None:
        nonlocal steps
        steps += 1
        if steps == step:
            raise Stop
        return plain(self, batch, batch_idx)

    monkeypatch.setattr(Training, "training_step", cut)
    given = config(tiny, tmp_path / "cut", val_split="test", workers=workers, checkpoint_steps=every)
    with pytest.raises(Stop):
        train(given, say=str)
    monkeypatch.setattr(Training, "training_step", plain)
    lines: list[str] = []
    assert same(weights(whole), weights(train(given, say=lines.append)))
    last = step - 1 if every == 1 else max((step - 1) // 3 * 3, (step - 1) // 3 * 3 + (step - 1) % 3 // every * every)
    name = f"epoch-{last // 3:04d}" + (f"+{last % 3:04d}" if last % 3 else "")
    assert any("resuming from" in line and f"{name}.ckpt" in line for line in lines) == (last > 0)
    rows, undisturbed = (read_metrics(run / "metrics.csv") for run in (tmp_path / "cut", whole))
    for column in ("epoch", "step", "lr", "train_loss", "train_top1", "val_top1"):
        assert [row[column] for row in rows] == [row[column] for row in undisturbed]


def test_a_finished_run_is_left_alone(whole: Path, tiny: Path) -> None:
    before = (whole / "recognizer" / "model.safetensors").stat().st_mtime_ns
    lines: list[str] = []
    train(config(tiny, whole, val_split="test"), say=lines.append)
    assert "finished" in lines[0]
    assert (whole / "recognizer" / "model.safetensors").stat().st_mtime_ns == before


def test_a_folder_with_another_run_or_other_files_is_refused(whole: Path, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(KinemaError, match=r"another run, which differs in optim\.lr, seed"):
        train(config(tiny, whole, val_split="test", seed=2, optim=Optim(lr=0.2, warmup=0.5)), say=str)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(KinemaError, match="not a run folder"):
        train(config(tiny, tmp_path), say=str)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_a_split_that_is_not_there_is_named_with_its_field(tiny: Path, tmp_path: Path) -> None:
    for field, mend in (("train_split", "train_split$"), ("val_split", "val_split, or null$")):
        with pytest.raises(KinemaError, match=rf"^{field} is 'dev', but .* train, test: .* as {mend}"):
            train(config(tiny, tmp_path / "run", **{field: "dev"}), say=str)
    assert not (tmp_path / "run").exists()


def test_a_run_that_never_began_does_not_keep_its_folder(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(KinemaError, match="nowhere"):
        train(config(tiny, tmp_path / "run", val_split="nowhere"), say=str)
    assert train(config(tiny, tmp_path / "run", epochs=1), say=str) == tmp_path / "run"
    assert "nowhere" not in (tmp_path / "run" / "config.yaml").read_text()


def test_an_interrupted_run_says_so(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: Training, batch: dict, batch_idx: int) -> Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "training_step", stop)
    with pytest.raises(RunError, match="interrupted; run the same command again"):
        train(config(tiny, tmp_path / "run"), say=str)


def test_checkpoints_are_two_with_their_hashes_and_hold_no_code(whole: Path) -> None:
    paths = found(whole / "checkpoints")
    assert [p.name for p in paths] == ["epoch-0002.ckpt", "epoch-0003.ckpt"]
    for path in paths:
        assert torch.load(path, weights_only=True)["epoch"] == done(path)[0] - 1
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert path.with_name(path.name + ".sha256").read_text().strip() == digest
    assert len(list((whole / "checkpoints").iterdir())) == 4


def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(tiny: Path, tmp_path: Path, whole: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    shutil.rmtree(run / "recognizer")
    newest = found(run / "checkpoints")[-1]
    damaged = bytearray(newest.read_bytes())
    damaged[len(damaged) // 2] ^= 1  # one bit
    newest.write_bytes(damaged)
    lines: list[str] = []
    assert same(weights(whole), weights(train(config(tiny, run, val_split="test"), say=lines.append)))
    assert any("epoch-0003.ckpt: damaged" in line for line in lines)
    assert any("resuming from" in line and "epoch-0002.ckpt" in line for line in lines)
    assert (run / "checkpoints" / "epoch-0003.ckpt.damaged").read_bytes() == damaged


def test_where_all_checkpoints_are_damaged_nothing_begins_anew(tiny: Path, tmp_path: Path, whole: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    shutil.rmtree(run / "recognizer")
    for path in found(run / "checkpoints"):
        path.write_bytes(path.read_bytes()[:1000])
    for _ in range(2):  # the second time all have been set aside
        with pytest.raises(KinemaError, match="no intact checkpoint; give another --out"):
            train(config(tiny, run, val_split="test"), say=str)
    with pytest.raises(KinemaError, match="contains another run, which differs in seed"):
        train(config(tiny, run, val_split="test", seed=1), say=str)


def test_the_metrics_are_whole_whatever_became_of_their_file(tiny: Path, tmp_path: Path, whole: Path) -> None:
    run = tmp_path / "run"
    for text in (b"", b"epoch,step\n1,x\n", b"\xff", None):
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(whole, run)
        shutil.rmtree(run / "recognizer")
        (run / "checkpoints" / "epoch-0003.ckpt").unlink()
        (run / "metrics.csv").unlink() if text is None else (run / "metrics.csv").write_bytes(text)
        train(config(tiny, run, val_split="test"), say=str)
        new, old = (read_metrics(folder / "metrics.csv") for folder in (run, whole))
        assert new[:2] == old[:2]
        assert [row["epoch"] for row in new] == [1, 2, 3]
    (run / "metrics.csv").write_bytes(b"epoch,step\n1,x\n")
    with pytest.raises(KinemaError, match=r"metrics\.csv: no longer a valid table of training metrics .* restore it"):
        read_metrics(run / "metrics.csv")


@pytest.mark.parametrize("text", ["optim: 3\n", "optim:\n", "", "[1]\n"])
def test_a_damaged_configuration_is_one_sentence(text: str, tiny: Path, tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text(text)
    with pytest.raises(KinemaError, match=r"config\.yaml: has no fields.*; restore it|differs in .*optim"):
        train(config(tiny, tmp_path / "run", val_split="test"), say=str)


def test_a_crop_that_does_not_fit_is_told_before_anything_is_read(tiny: Path, tmp_path: Path) -> None:
    given = config(tiny, tmp_path / "run", workers=2, augment=Augment(scale="jitter", jitter=(16, 20)))
    with pytest.raises(KinemaError, match=r"^augment\.jitter starts at 16, below clip\.crop 32: raise it$"):
        train(given, say=str)


def test_a_loss_that_is_not_finite_names_the_files(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the loss is (nan|inf) at step \d+ with the files .*\.mp4"):
        train(config(tiny, tmp_path / "run", optim=Optim(lr=1e30, max_grad_norm=0)), say=str)
    assert not (tmp_path / "run" / "recognizer").exists()


def with_broken_video(tiny: Path, folder: Path) -> Path:
    shutil.copytree(tiny.parent, folder)
    (folder / "train go left 0.mp4").write_bytes(b"this is no video at all" * 20)
    return folder / "manifest.csv"


def test_an_unreadable_training_video_is_noted_and_not_replaced(tiny: Path, tmp_path: Path) -> None:
    data = with_broken_video(tiny, tmp_path / "data")
    lines: list[str] = []
    run = train(config(data, tmp_path / "run", epochs=1), say=lines.append)
    with (run / "training-ledger.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1
    assert rows[0]["path"].endswith("train go left 0.mp4")
    assert rows[0]["error"]
    assert any("1 training and 0 validation videos could not be read" in line for line in lines)
    assert Recognizer.load(run).card["training"]["coverage"] == {"expected": 12, "read": 11, "failed": 1, "absent": 0}


def test_strict_stops_at_it(tiny: Path, tmp_path: Path) -> None:
    data = with_broken_video(tiny, tmp_path / "data")
    with pytest.raises(RunError, match=r"train go left 0\.mp4"):
        train(config(data, tmp_path / "run", strict=True), say=str)


def test_a_batch_of_nothing_but_unreadable_videos_does_not_end_the_run(tiny: Path, tmp_path: Path) -> None:
    data = with_broken_video(tiny, tmp_path / "data")
    run = train(config(data, tmp_path / "run", epochs=1, batch=1), say=str)
    assert Recognizer.load(run).card["training"]["coverage"] == {"expected": 12, "read": 11, "failed": 1, "absent": 0}
    assert read_metrics(run / "metrics.csv")[0]["train_loss"] > 0


def test_a_batch_of_which_nothing_could_be_read_moves_no_weight(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, plain, moved = with_broken_video(tiny, tmp_path / "data"), Training.optimizer_step, []

    def look(module: Training, *args: Any) -> None:
        before = [p.clone() for p in module.parameters()]
        plain(module, *args)
        moved.append(not all(map(torch.equal, before, module.parameters())))

    monkeypatch.setattr(Training, "optimizer_step", look)
    train(config(data, tmp_path / "run", epochs=2, batch=1, optim=Optim(lr=0.05, weight_decay=0.1)), say=str)
    assert moved.count(False) == 2  # once an epoch
    assert len(moved) == 24


def test_the_ledger_is_there_before_the_end(tiny: Path, tmp_path: Path) -> None:
    def stop(line: str) -> None:
        if line.startswith("epoch 1"):
            raise Stop

    with pytest.raises(Stop):
        train(config(with_broken_video(tiny, tmp_path / "data"), tmp_path / "run"), say=stop)
    assert "train go left 0.mp4" in (tmp_path / "run" / "training-ledger.csv").read_text()


def test_the_rate_in_the_metrics_is_that_of_the_last_step_without_the_factors_of_parts(
    tiny: Path, tmp_path: Path
) -> None:
    optim = Optim(lr=0.08, lr_mult={"features": 0.1}, schedule="cosine", warmup=0.0)
    run = train(config(tiny, tmp_path / "run", epochs=2, optim=optim), say=str)
    rates = [row["lr"] for row in read_metrics(run / "metrics.csv")]
    assert rates == pytest.approx([0.08 * (1 + cos(pi * step / 6)) / 2 for step in (2, 5)])


def test_a_validation_video_that_cannot_be_read_is_wrong(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.parent, tmp_path / "data")
    for path in (tmp_path / "data").glob("test*.mp4"):
        path.write_bytes(b"")
    run = train(config(tmp_path / "data" / "manifest.csv", tmp_path / "run", epochs=1, val_split="test"), say=str)
    row = read_metrics(run / "metrics.csv")[0]
    assert row["val_top1"] == 0
    assert row["val_videos"] == 6
    assert len((run / "training-ledger.csv").read_text().splitlines()) == 7


@pytest.fixture
def small_disk() -> object:
    """Files of this process may hold at most 100 kB, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_old_checkpoint(tiny: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    given = config(tiny, tmp_path / "run")
    plain = Training.on_train_epoch_start
    patch = pytest.MonkeyPatch()

    def fill(self: Training) -> None:
        if self.current_epoch == 1:
            request.getfixturevalue("small_disk")
        plain(self)

    patch.setattr(Training, "on_train_epoch_start", fill)
    sentence = r"epoch-0002\.ckpt: cannot be written .*free space .* continues from the previous checkpoint"
    with pytest.raises(RunError, match=sentence):
        train(given, say=str)
    patch.undo()
    checkpoints = tmp_path / "run" / "checkpoints"
    assert sorted(p.name for p in checkpoints.iterdir()) == ["epoch-0001.ckpt", "epoch-0001.ckpt.sha256"]
    assert torch.load(checkpoints / "epoch-0001.ckpt", weights_only=True)["epoch"] == 0


def test_starting_from_a_recognizer(whole: Path, tiny: Path, tmp_path: Path) -> None:
    slow = Optim(lr=1e-12, weight_decay=0)
    run = train(config(tiny, tmp_path / "fine", weights=str(whole), epochs=1, optim=slow), say=str)
    for name, value in weights(whole).items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(weights(run)[name], value)


def test_only_class_regularisation_learns_when_told_so(whole: Path, tiny: Path, tmp_path: Path) -> None:
    options = {"width": 0.125, "dropout": 0.5, "class_regularisation": [0.9, 0.8, 0.7, 0.6]}
    given = config(
        tiny,
        tmp_path / "cr",
        weights=str(whole),
        options=options,
        trainable="class_regularisation",
        epochs=2,
        val_split="test",
    )
    before, after = weights(whole), weights(train(given, say=str))
    assert all(torch.equal(after[k], v) for k, v in before.items())
    start = weights(train(replace(given, out=str(tmp_path / "cr0"), optim=Optim(lr=1e-20)), say=str))
    maps = [k for k in after if k.startswith("class_regularisation.")]
    assert len(maps) == 4
    assert any(not torch.equal(after[k], start[k]) for k in maps)
    assert Recognizer.load(tmp_path / "cr").model.architecture["options"]["class_regularisation"] == [
        0.9,
        0.8,
        0.7,
        0.6,
    ]
    with pytest.raises(KinemaError, match=r"options\.class_regularisation"):
        train(config(tiny, tmp_path / "none", trainable="class_regularisation"), say=str)


def test_gates_are_held_open_during_their_warm_up(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, plain = [], Training.training_step

    def look(self: Training, batch: dict, batch_idx: int) -> Tensor | None:
        gates = [m.gate_open for m in self.modules() if hasattr(m, "gate_open")]  # of the moving average too
        seen.append((self.current_epoch, len(gates), all(gates), any(gates)))
        return plain(self, batch, batch_idx)

    monkeypatch.setattr(Training, "training_step", look)
    options = {"width": 0.0625, "gate": "hard", "fusion": "residual"}
    given = config(
        tiny, tmp_path / "run", model="srtg_r3d_34", options=options, gate_warmup=1, epochs=2, batch=12, ema=0.9,
    )  # fmt: skip
    train(given, say=str)
    assert seen == [(0, 32, True, True), (1, 32, False, False)]
    with pytest.raises(KinemaError, match="has no gate"):
        train(config(tiny, tmp_path / "none", gate_warmup=1), say=str)


@pytest.mark.parametrize("precision", ["bf16"])
def test_mixed_precision_trains(tiny: Path, tmp_path: Path, precision: str) -> None:
    run = train(config(tiny, tmp_path / "run", epochs=1, precision=precision), say=str)
    assert all(v.isfinite().all() for v in weights(run).values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="half precision can be had here")
def test_half_precision_is_refused_on_a_cpu(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(KinemaError, match="precision is 16, which needs a GPU: use bf16 or 32"):
        train(config(tiny, tmp_path / "run", precision="16"), say=str)


@pytest.mark.slow
def test_it_learns_direction(tiny: Path, tmp_path: Path) -> None:
    run = train(config(tiny, tmp_path / "run", epochs=40, val_split="test"), say=str)
    assert read_metrics(run / "metrics.csv")[-1]["val_top1"] == 1.0
