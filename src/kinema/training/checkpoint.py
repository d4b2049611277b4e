"""Checkpoints: written in one step, read without unpickling code, the newest two kept."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning.callbacks import Checkpoint

from kinema.errors import KinemaError
from kinema.files import replace_file

KEPT = 2


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's reading and writing of checkpoints, by way of `replace_file` and `weights_only=True`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes `path` whole or not at all; a full disk raises `RunError`."""
        buffer = io.BytesIO()  # torch.save to a file reports a full disk as a RuntimeError of its own
        torch.save(checkpoint, buffer)
        replace_file(Path(path), lambda part: part.write_bytes(buffer.getbuffer()))

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: str | Callable | None = "cpu",
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """Reads tensors and plain values; anything else in the file is refused."""
        try:
            return torch.load(path, map_location=map_location or "cpu", weights_only=True)
        except Exception as error:  # a damaged archive raises whatever its first bad byte leads to
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise KinemaError(
                f"{path}: not a readable checkpoint ({reason}); remove it to go on from the one before"
            ) from error

    def remove_checkpoint(self, path: str | Path) -> None:
        """Removes the file if it is there."""
        Path(path).unlink(missing_ok=True)


class Checkpoints(Checkpoint):
    """Saves after every epoch, with the state of every source of randomness."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes `epoch-0007.ckpt` and forgets all but the newest two."""
        trainer.save_checkpoint(self.folder / f"epoch-{trainer.current_epoch + 1:04d}.ckpt")
        for old in found(self.folder)[:-KEPT]:
            old.unlink()

    def state_dict(self) -> dict[str, Any]:
        """Every random state of this process; the loader needs none, it draws from (seed, epoch, sample)."""
        state: dict[str, Any] = {"torch": torch.get_rng_state()}
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state_all()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Puts them back."""
        torch.set_rng_state(state_dict["torch"].cpu())
        if "cuda" in state_dict and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([s.cpu() for s in state_dict["cuda"]])


def epochs_done(path: Path) -> int:
    """How many epochs lie behind a checkpoint."""
    return int(path.stem.removeprefix("epoch-"))


def found(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    return sorted(p for p in folder.glob("epoch-*.ckpt") if re.fullmatch(r"epoch-\d{4,}\.ckpt", p.name))
