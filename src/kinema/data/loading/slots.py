"""Memory shared by a process and its readers: slots of equal size, each for the tensors of one sample."""

from __future__ import annotations

import mmap
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import torch
from torch import Tensor

_ALIGN = 64  # bytes
_TENSORS = 8  # tensors per sample for which there is room for alignment
Layout = tuple[int, tuple[int, ...], tuple[int, ...], torch.dtype]  # offset, shape in memory, permutation, dtype


class Slots:
    """Slots of equal size, and one counter per reader.

    Forked readers inherit anonymous memory, which is not limited by the size of `/dev/shm` (64 MB in a container). If
    processes are not forked, the memory has a name. The system assigns pages only when they are written.
    Args:
        count: number of slots.
        size: bytes per slot, for the tensors of one sample.
        readers: number of counters.
        forked: True if the readers are forked.
    """

    def __init__(self, count: int, size: int, readers: int, *, forked: bool) -> None:
        self.count, self.size = count, -(-size // _ALIGN) * _ALIGN + _TENSORS * _ALIGN
        self._readers = readers
        total = self._head + self.count * self.size
        self._memory: mmap.mmap | SharedMemory
        self._memory = mmap.mmap(-1, total) if forked else SharedMemory(create=True, size=total)
        self._attach()

    @property
    def _head(self) -> int:
        return -(-8 * self._readers // _ALIGN) * _ALIGN

    def _attach(self) -> None:
        memory = self._memory
        self._bytes = torch.frombuffer(memory.buf if isinstance(memory, SharedMemory) else memory, dtype=torch.uint8)
        self.beats = self._bytes[: 8 * self._readers].view(torch.int64).numpy()
        """int64 per reader: number of times that it made progress."""

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_bytes", "beats")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._attach()

    def write(self, slot: int, tensors: list[Tensor]) -> list[Layout]:
        """Copies tensors into a slot, keeping the memory order of each.

        Raises:
            ValueError: they do not fit.
        """
        layouts: list[Layout] = []
        at = 0
        for tensor in tensors:
            order = sorted(range(tensor.dim()), key=lambda d: tensor.stride(d), reverse=True)
            dense = tensor.permute(order)
            size = dense.numel() * dense.element_size()
            if at + size > self.size:
                raise ValueError(f"a sample of more than {self.size} bytes does not fit into a slot")
            layouts.append((at, tuple(dense.shape), tuple(order), tensor.dtype))
            self._view(slot, layouts[-1]).copy_(tensor)
            at += -(-size // _ALIGN) * _ALIGN
        return layouts

    def read(self, slot: int, layouts: list[Layout]) -> list[Tensor]:
        """Returns the tensors of a slot as views, valid until the slot is written again."""
        return [self._view(slot, layout) for layout in layouts]

    def _view(self, slot: int, layout: Layout) -> Tensor:
        at, shape, order, dtype = layout
        begin = self._head + slot * self.size + at
        size = torch.Size(shape).numel() * dtype.itemsize
        return (
            self._bytes[begin : begin + size]
            .view(dtype)
            .view(shape)
            .permute([order.index(d) for d in range(len(order))])
        )

    def close(self) -> None:
        """Releases a named memory; existing views stay valid."""
        if isinstance(self._memory, SharedMemory):
            self._memory.unlink()
