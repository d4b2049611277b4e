"""Checkpoints: written in one step, hashed, read without unpickling code; the newest two are kept."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning.callbacks import Checkpoint

from kinema.errors import KinemaError, RunError
from kinema.files import replace_file
from kinema.processes import all_gather_object
from kinema.training.multigrid import Steps

KEPT = 2
_ASIDE = ".damaged"
_NAME = re.compile(r"epoch-(\d{4,})(?:\+(\d+))?\.ckpt")


class AtomicCheckpointIO(CheckpointIO):
    """Reads and writes checkpoints for Lightning, with `replace_file` and `weights_only=True`.

    The SHA-256 of every checkpoint is stored beside it and written first: a checkpoint without it is incomplete.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes the checkpoint to `path`, completely or not at all; a full disk raises `RunError`."""
        path = Path(path)
        buffer = io.BytesIO()  # torch.save to a file reports a full disk as its own RuntimeError
        torch.save(checkpoint, buffer)
        path.unlink(missing_ok=True)  # or an old checkpoint would briefly lie beside the new hash
        digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
        try:
            replace_file(_hash_file(path), lambda part: part.write_text(digest + "\n", encoding="ascii"))
            replace_file(path, lambda part: part.write_bytes(buffer.getbuffer()))
        except RunError as error:
            _hash_file(path).unlink(missing_ok=True)
            raise RunError(f"{error}; then the same command continues from the previous checkpoint") from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: str | Callable | None = "cpu",
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """Reads a checkpoint of tensors and plain values; a file with other content raises `KinemaError`."""
        try:
            return torch.load(path, map_location=map_location or "cpu", weights_only=True)
        except Exception as error:  # depending on the file, the unpickler raises any kind of error
            raise KinemaError(
                f"{path}: is intact but contains more than tensors and plain values; remove it to continue from the "
                "previous one"
            ) from error

    def remove_checkpoint(self, path: str | Path) -> None:
        """Removes a checkpoint and its hash, if they exist."""
        Path(path).unlink(missing_ok=True)
        _hash_file(Path(path)).unlink(missing_ok=True)


class Checkpoints(Checkpoint):
    """Saves a checkpoint after every epoch, and every `every` steps within an epoch.

    No random state is saved: all random numbers follow from seed, epoch and step.

    Args:
        folder: folder with the checkpoints of the run.
        every: number of steps between checkpoints.
        steps: steps of each epoch.
        start: checkpoint from which this process continues; None if it starts from the beginning.
    """

    def __init__(self, folder: Path, every: int, steps: Steps, start: Path | None = None) -> None:
        self.folder, self.every, self.steps, self.start = folder, every, steps, start

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Checks that all processes continue from the same checkpoint; machines may see different folders.

        Raises:
            KinemaError: they differ, so that the processes would train different weights.
        """
        starts = all_gather_object(None if self.start is None else self.start.name)
        for rank, name in enumerate(starts):
            if name != starts[0]:
                raise KinemaError(
                    f"{self.folder}: process 0 continues from {starts[0] or 'no checkpoint'}, but process {rank} from "
                    f"{name or 'no checkpoint'}; give all machines the same run folder, on a disk that they share"
                )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves within an epoch: `epoch-0007+0500.ckpt` after seven epochs and 500 steps of the eighth."""
        done = batch_idx + 1
        if done % self.every == 0 and done < len(self.steps.of(trainer.current_epoch)):
            self._save(trainer, f"epoch-{trainer.current_epoch:04d}+{done:04d}.ckpt")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves at the end of an epoch: `epoch-0007.ckpt` after seven epochs."""
        self._save(trainer, f"epoch-{trainer.current_epoch + 1:04d}.ckpt")

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        trainer.save_checkpoint(self.folder / name)
        if trainer.is_global_zero:
            for old in found(self.folder)[:-KEPT]:
                AtomicCheckpointIO().remove_checkpoint(old)


def done(path: Path) -> tuple[int, int]:
    """Returns the number of complete epochs and of steps of the next one, from the name of a checkpoint."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path.name} is not the name of a checkpoint")
    return int(match[1]), int(match[2] or 0)


def found(folder: Path) -> list[Path]:
    """Lists the checkpoints of a folder, oldest first."""
    return sorted((p for p in folder.glob("epoch-*.ckpt") if _NAME.fullmatch(p.name)), key=done)


def begun(folder: Path) -> bool:
    """True if the folder contains checkpoints of a run, intact or damaged."""
    return bool(found(folder)) or any(folder.glob(f"epoch-*.ckpt{_ASIDE}"))


def newest(folder: Path, say: Callable[[str], None], *, tidy: bool = True) -> Path | None:
    """Finds the newest intact checkpoint; None if the folder contains no checkpoint.

    Args:
        folder: folder with the checkpoints of a run.
        say: receives one line per damaged checkpoint.
        tidy: rename damaged checkpoints to `….damaged`; only one of several processes should do so.

    Raises:
        KinemaError: all checkpoints of the folder are damaged, including those that were renamed before.
    """
    paths = found(folder)
    for path in reversed(paths):
        if _whole(path):
            return path
        if tidy:
            path.rename(path.with_name(path.name + _ASIDE))
        say(f"{path}: damaged (its SHA-256 has changed), renamed to  {path.name}{_ASIDE}")
    if begun(folder):
        raise KinemaError(
            f"{folder}: contains no intact checkpoint; give another --out, or remove the folder to train from the start"
        )
    return None


def _whole(path: Path) -> bool:
    try:
        written = _hash_file(path).read_text(encoding="ascii").strip()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == written
    except (FileNotFoundError, UnicodeDecodeError):  # another process may just have renamed it
        return False


def _hash_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
