"""Memory that a process and its readers share: equal slots, each for the tensors of one sample."""

from __future__ import annotations

import mmap
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import torch
from torch import Tensor

_ALIGN = 64  # bytes
_TENSORS = 8  # of a sample, for which there is room to be aligned
Layout = tuple[int, tuple[int, ...], tuple[int, ...], torch.dtype]  # offset, shape in memory, permutation, dtype


class Slots:
    """Slots of equal size, and a counter per reader.

    Forked readers inherit anonymous memory, which no mount of `/dev/shm` bounds: a container gives that 64 MB. Where
    processes are not forked, the memory has a name. Pages are only taken from the system once they are written.

    Args:
        count: how many slots.
        size: bytes of the tensors of a sample.
        readers: how many counters.
        forked: whether the readers are forked.
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
        """int64 per reader: how often it made progress."""

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_bytes", "beats")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._attach()

    def write(self, slot: int, tensors: list[Tensor]) -> list[Layout]:
        """Copies tensors into a slot, each in the order of its own memory.

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
        """The tensors of a slot, as views of it: valid until it is written again."""
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
        """Gives up a named memory; views that are still held stay valid."""
        if isinstance(self._memory, SharedMemory):
            self._memory.unlink()
