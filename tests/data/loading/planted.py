"""A data set whose samples do to the process that reads them what bad files do."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kinema.data.reading.progress import beat


@dataclass
class Planted:
    """Sample i behaves as `kinds[i]` says: `ok`, or the name of a disaster.

    Args:
        kinds: of the samples.
        folder: where samples leave a file each time they are read; None leaves none.
        seconds: that a good sample takes.
    """

    kinds: Sequence[str]
    folder: Path | None = None
    seconds: float = 0.0
    item_bytes: int = 2 * 3 * 4 * 5 + 2 * 8

    def __getitem__(self, i: int) -> dict[str, Any]:
        if self.folder is not None:
            (self.folder / f"{i} {time.time_ns()} {os.getpid()}").touch()
        disaster = getattr(self, f"_{self.kinds[i].replace(' ', '_')}", None)
        if disaster is not None:
            disaster(i)
        time.sleep(self.seconds)
        return {"pixels": tensor(i), "label": torch.tensor([i, -i]), "index": i}

    def failure(self, key: int, reason: str) -> tuple[int, str]:
        return key, reason

    def path(self, key: int) -> str:
        return f"{self.kinds[key]} {key}"

    def times_read(self, i: int) -> int:
        assert self.folder is not None
        return len(list(self.folder.glob(f"{i} *")))

    def _segfault(self, i: int) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def _abort(self, i: int) -> None:
        os.abort()

    def _exit(self, i: int) -> None:
        os._exit(3)

    def _killed_once(self, i: int) -> None:
        if self.times_read(i) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def _sleep(self, i: int) -> None:
        time.sleep(1000)

    def _stop(self, i: int) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def _spin(self, i: int) -> None:
        while True:
            pass

    def _endless(self, i: int) -> None:
        while True:
            beat()
            time.sleep(0.01)

    def _memory(self, i: int) -> None:
        held = []
        while True:
            held.append(bytes(2**26))

    def _tensor_memory(self, i: int) -> None:
        torch.zeros(2**40, dtype=torch.uint8)

    def _value(self, i: int) -> None:
        raise ValueError("a bug\nin two lines")

    def _disk(self, i: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def _permission(self, i: int) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "somewhere")


def tensor(i: int) -> torch.Tensor:
    """uint8 2 3 4 5 of the sample i, a view of other memory order."""
    return torch.arange(120, dtype=torch.uint8).add(i).view(4, 2, 5, 3).permute(1, 3, 0, 2)
