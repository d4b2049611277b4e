"""The code of a reader process: reads one sample after another into the given slots."""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

import torch
from torch import Tensor

from kinema.data.loading.limits import ReadLimits, is_out_of_memory, limit_memory
from kinema.data.loading.slots import Layout, Slots
from kinema.data.reading.progress import watch
from kinema.errors import UnreadableVideo
from kinema.files import on_behalf_of
from kinema.memory import keep_freed_memory

log = logging.getLogger(__name__)

_LOOK = 2.0  # seconds between checks that the parent process still exists


class Readable(Protocol):
    """A dataset whose samples can be read by other processes."""

    @property
    def item_bytes(self) -> int:
        """Size of the tensors of its largest sample, in bytes."""

    def __getitem__(self, key: Any) -> Any:
        """Returns the sample: a dict, whose tensors go through shared memory, or the value of `failure`."""

    def failure(self, key: Any, reason: str) -> Any:
        """Returns the placeholder for a sample that could not be read, with the reason."""

    def path(self, key: Any) -> str:
        """Returns the file or folder that is read for a sample."""


@dataclass(frozen=True)
class Reply:
    """A sample on its way between processes.

    Attributes:
        item: the sample; if it is a dict, without its tensors.
        names: names of the tensors.
        layouts: their places in the slot.
        exhausted: True if reading it took more memory than a reader may use.
    """

    item: Any
    names: tuple[str, ...] = ()
    layouts: tuple[Layout, ...] = ()
    exhausted: bool = False


def attempt(data: Readable, key: Any) -> Any:
    """Returns a sample of `data`, or its placeholder after any error except lack of memory.

    Raises:
        MemoryError: there was not enough memory.
    """
    try:
        with on_behalf_of(data.path(key)):
            return data[key]
    except UnreadableVideo as error:
        return data.failure(key, error.reason)
    except Exception as error:
        if is_out_of_memory(error):
            raise MemoryError from error
        log.debug("reading %s failed", data.path(key), exc_info=True)
        why = " ".join(f"{type(error).__name__}: {error}".split())
        return data.failure(key, f"reading it failed unexpectedly ({why}); please report this")


def serve(
    data: Readable, slots: Slots, number: int, connection: Connection, limits: ReadLimits,
    others: Sequence[Connection], parent: int,
) -> None:  # fmt: skip
    """Reads the requested samples until the connection closes or the parent is gone.

    Args:
        data: the samples.
        slots: memory for their tensors.
        number: number of this reader, for its progress counter.
        connection: receives (task, key, slot), sends (task, `Reply`).
        limits: memory limits.
        others: connections of the parent that a forked process has inherited; they are closed.
        parent: process id of the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent handles it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    faulthandler.disable()
    # A forked process must not clean up what it inherits: an encoder of the parent would wait for its threads, which do
    # not exist here, and crash.
    gc.freeze()
    torch.set_num_threads(1)
    keep_freed_memory(large=False)  # a video of large frames must not leave every reader large
    for other in others:
        other.close()
    limit_memory(limits)
    beats = slots.beats

    def beat() -> None:
        beats[number] += 1

    watch(beat)
    connection.send(None)
    while True:
        while not connection.poll(_LOOK):
            if os.getppid() != parent:
                return
        try:
            task, key, slot = connection.recv()
        except (EOFError, ConnectionError):  # the parent is gone; it was killed if the connection broke
            return
        beat()
        reply = _reply(data, key, slots, slot)
        try:
            connection.send((task, reply))
        except (BrokenPipeError, ConnectionError):
            return


def _reply(data: Readable, key: Any, slots: Slots, slot: int) -> Reply:
    try:
        item = attempt(data, key)
        if not isinstance(item, dict):
            return Reply(item)
        tensors = {name: value for name, value in item.items() if isinstance(value, Tensor)}
        layouts = slots.write(slot, list(tensors.values()))
    except MemoryError:
        return Reply(None, exhausted=True)
    return Reply({k: v for k, v in item.items() if k not in tensors}, tuple(tensors), tuple(layouts))


def restore(reply: Reply, slots: Slots, slot: int) -> Any:
    """Rebuilds the sample of a reply; its tensors are views of the slot."""
    if not reply.names:
        return reply.item
    return {**reply.item, **dict(zip(reply.names, slots.read(slot, list(reply.layouts)), strict=True))}
