"""What comes upon a training from outside: a second one, a full disk, other data, processes that are killed."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from kinema import files
from kinema.clip_spec import ClipSpec
from kinema.data.datasets import ClipKey, TrainClips
from kinema.data.loading.limits import ReadLimits
from kinema.data.manifest import read_manifest
from kinema.errors import KinemaError, RunError
from kinema.models import create_model
from kinema.recognizer import Recognizer
from kinema.training.config import Optim, TrainConfig
from kinema.training.module import Training
from kinema.training.multigrid import Steps
from kinema.training.run import train


def config(data: Path, out: Path, **changes: object) -> TrainConfig:
    base = TrainConfig(
        model="stm_r18", data=str(data), out=str(out), options={"width": 0.0625},
        clip={"frames": 4, "short_side": 40, "crop": 32}, epochs=2, batch=4, workers=0, device="cpu",
        optim=Optim(lr=0.05), logger="none",
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config(tiny, tmp_path_factory.mktemp("outside") / "whole"), say=str)


def same(a: Path, b: Path) -> bool:
    first, second = (load_file(run / "recognizer" / "model.safetensors") for run in (a, b))
    return all(torch.equal(first[k], second[k]) for k in first)


def taken_up_after_an_epoch(whole: Path, run: Path) -> Path:
    """The undisturbed run as it stood after its first epoch."""
    shutil.copytree(whole, run)
    shutil.rmtree(run / "recognizer")
    for path in (run / "checkpoints").glob("epoch-0002.ckpt*"):
        path.unlink()
    return run


def test_two_trainings_do_not_share_a_folder(whole: Path, tiny: Path, tmp_path: Path) -> None:
    run = taken_up_after_an_epoch(whole, tmp_path / "run")
    code = (
        "import sys; from pathlib import Path; from kinema.files import held\n"
        "with held(Path(sys.argv[1])): print(flush=True); input()"
    )
    pipe = subprocess.PIPE
    other = subprocess.Popen([sys.executable, "-c", code, str(run)], stdin=pipe, stdout=pipe)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"\n"  # it has the folder now
        before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}
        with pytest.raises(KinemaError, match="run: another process is writing into it"):
            train(config(tiny, run), say=str)
        assert {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()} == before
    finally:
        other.communicate(b"\n")
    assert same(whole, train(config(tiny, run), say=str))


def test_what_a_killed_training_was_writing_does_not_stay(whole: Path, tiny: Path, tmp_path: Path) -> None:
    run = taken_up_after_an_epoch(whole, tmp_path / "run")
    parts = [run / ".metrics.csv.x.part", run / "checkpoints" / ".epoch-0002.ckpt.x.part"]
    for part in parts:
        part.write_bytes(b"half")
    assert same(whole, train(config(tiny, run), say=str))
    assert not any(part.exists() for part in parts)


@pytest.mark.parametrize("name", ["config.yaml", "metrics.csv", ".ckpt.sha256", "model.safetensors", "card.json"])
def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(
    name: str, whole: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.fsync

    def full(handle: int) -> None:
        if name in Path(f"/proc/self/fd/{handle}").readlink().name:
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(handle)

    monkeypatch.setattr(files.os, "fsync", full)
    given = config(tiny, tmp_path / "run")
    with pytest.raises(RunError, match=rf"{name}: cannot be written \(No space left on device\)"):
        train(given, say=str)
    assert not (tmp_path / "run" / "recognizer" / "card.json").exists()
    assert not list(tmp_path.rglob("*.part"))
    monkeypatch.setattr(files.os, "fsync", plain)
    assert same(whole, train(given, say=str))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), r"run: cannot be written \(No space left on device\)"),
        (torch.OutOfMemoryError("CUDA out of memory."), "the memory of the device is full; lower batch"),
    ],
)
def test_what_ends_a_training_is_one_sentence(
    error: Exception, sentence: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Training, batch: dict, batch_idx: int) -> Tensor:
        raise error

    monkeypatch.setattr(Training, "training_step", fail)
    with pytest.raises(RunError, match=sentence):
        train(config(tiny, tmp_path / "run"), say=str)


def test_other_errors_stay_what_they_are(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (RuntimeError("a bug"), FileNotFoundError(errno.ENOENT, "no such file")):

        def fail(self: Training, batch: dict, batch_idx: int, error: Exception = error) -> Tensor:
            raise error

        monkeypatch.setattr(Training, "training_step", fail)
        with pytest.raises(type(error), match=r"a bug|no such file"):
            train(config(tiny, tmp_path / "run"), say=str)


@pytest.mark.parametrize("change", ["one more", "another label", "another order"])
def test_data_that_have_changed_since_are_refused(change: str, tiny: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny.parent, data)
    table = data / "manifest.csv"
    given = config(table, tmp_path / "run")
    train(given, say=str)
    run = taken_up_after_an_epoch(tmp_path / "run", tmp_path / "again")
    head, first, second, *rest = table.read_text().splitlines()
    if change == "one more":
        shutil.copy(data / "train go left 0.mp4", data / "new.mp4")
        lines = [head, first, second, *rest, "new.mp4,go left,train"]
    elif change == "another label":
        lines = [head, first.replace("go left,train", "stay,train"), second, *rest]
    else:
        lines = [head, second, first, *rest]
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(KinemaError, match=r"manifest\.csv: the videos or labels of the split 'train' have changed"):
        train(replace(given, out=str(run)), say=str)


def test_data_that_have_moved_as_a_whole_are_the_same(whole: Path, tiny: Path, tmp_path: Path) -> None:
    from kinema.data.manifest import read_manifest
    from kinema.training.loading import fingerprint

    shutil.copytree(tiny.parent, tmp_path / "elsewhere")
    here, there = (read_manifest(p).split("train") for p in (tiny, tmp_path / "elsewhere" / "manifest.csv"))
    assert fingerprint(here) == fingerprint(there) != fingerprint(read_manifest(tiny).split("test"))


def test_a_damaged_configuration_is_one_sentence(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: [stm_r18\nbatch: 3: 4")
    with pytest.raises(KinemaError, match=r"config\.yaml: not YAML .*; restore it, or give another --out"):
        train(config(tiny, tmp_path), say=str)


def test_every_clip_of_a_broken_file_counts_as_failed(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.parent, tmp_path / "data")
    (tmp_path / "data" / "train go left 0.mp4").write_bytes(b"no video" * 50)
    rows = [f"{line},," for line in (tmp_path / "data" / "manifest.csv").read_text().splitlines()[1:]]
    rows[0] = "train go left 0.mp4,go left,train,0,0.3"
    rows.append("train go left 0.mp4,go left,train,0.3,0.6")
    table = tmp_path / "data" / "parts.csv"
    table.write_text("\n".join(["path,label,split,start,end", *rows]) + "\n")
    run = train(config(table, tmp_path / "run", epochs=1), say=str)
    assert Recognizer.load(run).card["training"]["coverage"] == {"expected": 13, "read": 11, "failed": 2, "absent": 0}
    assert len((run / "training-ledger.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("disaster", ["crash", "hang"])
def test_a_clip_that_takes_its_reader_down_costs_one_row(
    disaster: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = TrainClips.__getitem__

    def read(self: TrainClips, key: ClipKey) -> Any:
        if key.sample == 1 and disaster == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        while key.sample == 1:
            time.sleep(1)
        return plain(self, key)

    monkeypatch.setattr(TrainClips, "__getitem__", read)
    given = config(tiny, tmp_path / "run", epochs=2, workers=2, limits=ReadLimits(stalled=1.5))
    run = train(given, say=str)
    expected = len(read_manifest(tiny).split("train").samples)
    assert Recognizer.load(run).card["training"]["coverage"] == {
        "expected": expected, "read": expected - 1, "failed": 1, "absent": 0,
    }  # fmt: skip
    ledger = (run / "training-ledger.csv").read_text().splitlines()
    assert len(ledger) == 2
    assert {"crash": "SIGSEGV", "hang": "no progress"}[disaster] in ledger[1]


def test_a_single_value_a_channel_is_one_sentence(tiny: Path, tmp_path: Path) -> None:
    given = config(tiny, tmp_path / "run", model="r3d_34", batch=1, clip={"frames": 8, "short_side": 20, "crop": 16})
    with pytest.raises(RunError, match="a BatchNorm received a single value per channel"):
        train(given, say=str)


def test_the_processor_may_have_a_number(tiny: Path, tmp_path: Path) -> None:
    run = train(config(tiny, tmp_path / "run", epochs=1, device="cpu:0"), say=str)
    assert (run / "recognizer" / "card.json").is_file()


def test_tallies_of_other_numbers_of_processes_are_summed() -> None:
    given = TrainConfig("stm_r18", "data")
    model = create_model("stm_r18", num_classes=2, width=0.0625)
    module = Training(model, ClipSpec(frames=4, crop=32), given, Steps((), (), 1))
    tallies: Any = [dict.fromkeys(module.tally, value) for value in (1.0, 2.5)]
    module.on_load_checkpoint({"ledger": {"train": {}, "val": {}}, "tally": tallies})
    assert set(module.tally.values()) == {3.5}
    module.on_load_checkpoint({"ledger": {"train": {}, "val": {}}, "tally": tallies[:1]})
    assert set(module.tally.values()) == {1.0}
