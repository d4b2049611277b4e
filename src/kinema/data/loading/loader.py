"""`Loader`: an iterable of batches, read by a pool of processes or by the process itself."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar

import torch

from kinema.data.loading.limits import ReadLimits
from kinema.data.loading.pool import ReaderPool
from kinema.data.loading.reader import Readable, attempt

# Readers of a single video. A process takes seconds to start on all systems except Linux; there, this process reads.
SINGLE_VIDEO_READERS = 1 if sys.platform == "linux" else 0
_AHEAD = 2**30  # bytes of samples read ahead, beyond those for the readers and one batch

Batch = TypeVar("Batch")


class Loader(Generic[Batch]):
    """Batches of samples in a given order, even if reader processes fail.

    A sample whose reading crashes, hangs, or takes too much time or memory is replaced in its batch by the value of
    `data.failure`. Readers start with the first batch and live until `close`, across epochs.

    Args:
        data: the samples.
        batch_sampler: keys of each batch; iterated again for every epoch.
        collate: makes a batch of samples. It must copy their tensors, which are views of memory that is reused.
        readers: number of reader processes; 0 reads in this process, without protection from a decoder that crashes.
        largest: number of samples in the largest batch.
        limits: time and memory limits per sample.
        watch: called several times per second while waiting for a sample; an error that it raises ends the iteration.
    """

    def __init__(
        self, data: Readable, batch_sampler: Iterable[Sequence[Any]], collate: Callable[[list[Any]], Batch], *,
        readers: int, largest: int, limits: ReadLimits | None = None, watch: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self.data, self.batch_sampler, self.collate = data, batch_sampler, collate
        self.readers, self.limits, self._watch = readers, limits or ReadLimits(), watch
        ahead = min(largest + readers, _AHEAD // max(1, data.item_bytes))
        self._slots = largest + readers + max(0, ahead)
        self._pool: ReaderPool | None = None

    def __iter__(self) -> Iterator[Batch]:
        return self._read_here() if self.readers == 0 else self._read_by_others()

    def __enter__(self) -> Loader[Batch]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the readers."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _read_here(self) -> Iterator[Batch]:
        for keys in self.batch_sampler:
            yield self.collate([self._attempt(key) for key in keys])

    def _attempt(self, key: Any) -> Any:
        try:
            return attempt(self.data, key)
        except MemoryError:
            return self.data.failure(key, "reading it needs more memory than is available")

    def _read_by_others(self) -> Iterator[Batch]:
        if self._pool is None:
            self._pool = ReaderPool(self.data, readers=self.readers, slots=self._slots, limits=self.limits)
        pool = self._pool
        coming = iter(self.batch_sampler)
        batches: deque[_Batch] = deque()
        try:
            while _submit(pool, batches, coming) or batches:
                first = batches[0] if batches else None  # none if all slots belong to an epoch left early
                if first is not None and first.whole and all(map(pool.ready, first.numbers)):
                    batches.popleft()
                    batch = self.collate([pool.item(number) for number in first.numbers])
                    for number in first.numbers:
                        pool.release(number)
                    _submit(pool, batches, coming)
                    pool.stock_up()
                    yield batch
                else:
                    pool.wait()
                    if self._watch is not None:
                        self._watch()
        finally:
            if self._pool is pool:  # otherwise it is closed, and no sample is pending
                pool.drop([number for batch in batches for number in batch.numbers])


class _Batch:
    """A batch in progress: the samples that were requested, and those still to request."""

    def __init__(self, keys: Sequence[Any]) -> None:
        self.keys = deque(keys)
        self.numbers: list[int] = []

    @property
    def whole(self) -> bool:
        return not self.keys


def _submit(pool: ReaderPool, batches: deque[_Batch], coming: Iterator[Sequence[Any]]) -> bool:
    """Requests as many samples as there is room for, batch by batch; returns True if more batches may follow."""
    while pool.free:
        if batches and not batches[-1].whole:
            batch = batches[-1]
            batch.numbers.append(pool.submit(batch.keys.popleft()))
            continue
        keys = next(coming, None)
        if keys is None:
            return False
        if len(keys) > pool.slots:
            raise ValueError(f"a batch of {len(keys)} samples is larger than the announced maximum")
        batches.append(_Batch(keys))
    return True


def alone(items: list[Any]) -> Any:
    """Copies the only sample of a batch to its own memory: a `collate` for batches of one."""
    (item,) = items
    if not isinstance(item, dict):
        return item
    return {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in item.items()}
