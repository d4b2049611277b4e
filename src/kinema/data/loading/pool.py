"""Reader processes that may crash, hang or run out of memory; only the sample that they were reading is lost."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from kinema.data.loading.limits import ReadLimits
from kinema.data.loading.reader import Readable, Reply, restore, serve
from kinema.data.loading.slots import Slots
from kinema.errors import RunError

log = logging.getLogger(__name__)

ATTEMPTS = 3  # readers that one sample may kill; another process may have killed the first ones
_BARREN = 3  # consecutive readers that die before they can read
_POLL = 0.25  # seconds; the longest wait for a message, and between checks of the limits
_PIPE = 2**15  # bytes of tasks per reader: a pipe holds twice as much and must never be full
_START = 120.0  # seconds that a reader may take to start


@dataclass
class _Reader:
    """A process and its tasks; it is reading the first one."""

    process: BaseProcess
    connection: Connection
    tasks: deque[int] = field(default_factory=deque)
    ready: bool = False
    beats: int = 0
    stalled: float = 0.0
    spent: float = 0.0


@dataclass
class _Task:
    key: Any
    slot: int
    bytes: int = 0
    item: Any = None
    done: bool = False
    wanted: bool = True


class ReaderPool:
    """Reads samples in other processes, roughly in the order in which they are submitted.

    A reader that dies is replaced, and the next one reads its sample again. A sample becomes the value of
    `data.failure` if it has killed `ATTEMPTS` readers, exceeded a time limit, or exceeded the memory limit twice. So do
    later samples of the same path.

    Nothing runs in the background: readers receive work and are checked only while `wait` waits.

    Args:
        data: the samples.
        readers: number of processes.
        slots: number of samples between `submit` and `release` at a time; at least the number of readers.
        limits: time and memory limits per sample.
    """

    def __init__(self, data: Readable, *, readers: int, slots: int, limits: ReadLimits) -> None:
        forked = sys.platform == "linux" and "fork" in multiprocessing.get_all_start_methods()
        # Not the forkserver: it would import the caller's main module again, and lack what that module defines.
        self._context = multiprocessing.get_context("fork" if forked else None)
        self._forked = forked
        self._data, self._limits = data, limits
        self._slots = Slots(max(slots, readers), data.item_bytes, readers, forked=forked)
        self._free = list(range(self._slots.count))
        self._tasks: dict[int, _Task] = {}
        self._waiting: deque[int] = deque()  # submitted, but not yet given to a reader
        self._deaths: Counter[int] = Counter()
        self._given_up: dict[str, str] = {}  # path -> reason
        self._submitted = 0
        self._barren = 0
        self._readers: list[_Reader | None] = [None] * readers

    @property
    def slots(self) -> int:
        """The number of samples that may be in progress at a time."""
        return self._slots.count

    @property
    def free(self) -> int:
        """The number of samples that may be submitted now."""
        return len(self._free)

    def submit(self, key: Any) -> int:
        """Requests a sample; `free` must not be 0.

        Returns:
            The number that identifies it for `ready`, `take` and `release`.
        """
        number = self._submitted
        self._submitted += 1
        self._tasks[number] = _Task(key, self._free.pop())
        self._waiting.append(number)
        return number

    def ready(self, number: int) -> bool:
        """True if a sample is available."""
        return self._tasks[number].done

    def item(self, number: int) -> Any:
        """Returns an available sample; its tensors are views that are valid until `release`."""
        return self._tasks[number].item

    def release(self, number: int) -> None:
        """Frees the slot of an available sample."""
        task = self._tasks.pop(number)
        self._free.append(task.slot)
        self._deaths.pop(number, None)

    def drop(self, numbers: Sequence[int]) -> None:
        """Cancels a request: the sample is not read if no reader has it yet, and is dropped otherwise."""
        for number in numbers:
            task = self._tasks[number]
            if number in self._waiting:
                self._waiting.remove(number)
                self.release(number)
            elif task.done:
                self.release(number)
            else:
                task.wanted = False

    def wait(self) -> None:
        """Waits shortly for replies, hands out work, and replaces readers that died or exceeded a limit.

        Raises:
            RunError: no reader can be started.
        """
        began = time.monotonic()
        self._hand_out(2)
        heard = set(wait([reader.connection for reader in self._readers if reader is not None], _POLL))
        for i, reader in enumerate(self._readers):
            if reader is not None and reader.connection in heard:
                self._receive(i)
        # Excludes the time before this call, and the time for which this process or the machine was suspended.
        self._watch(min(time.monotonic() - began, 4 * _POLL))

    def stock_up(self) -> None:
        """Hands out all waiting work before the caller does something else."""
        self._hand_out(-(-self._slots.count // len(self._readers)))

    def close(self) -> None:
        """Ends the readers."""
        for reader in self._readers:
            if reader is not None:
                reader.process.kill()
                reader.connection.close()
        for reader in self._readers:
            if reader is not None:
                reader.process.join()
        self._readers = [None] * len(self._readers)
        self._slots.close()

    def _hand_out(self, depth: int) -> None:
        """Gives every reader up to `depth` tasks; readers with the fewest come first."""
        while self._waiting:
            for i, reader in enumerate(self._readers):
                if reader is None:
                    self._start(i)
            i, reader = min(
                ((i, r) for i, r in enumerate(self._readers) if r is not None), key=lambda pair: len(pair[1].tasks)
            )
            number = self._waiting[0]
            task = self._tasks[number]
            message = pickle.dumps((number, task.key, task.slot))
            queued = sum(self._tasks[task].bytes for task in reader.tasks)
            if len(reader.tasks) >= depth or (queued and queued + len(message) > _PIPE):
                return
            self._waiting.popleft()
            given_up = self._given_up.get(self._data.path(task.key))
            if given_up is not None:
                self._finish(number, self._data.failure(task.key, given_up))
                continue
            reader.tasks.append(number)
            task.bytes = len(message)
            try:
                reader.connection.send_bytes(message)
            except OSError:  # it has died, and may have sent a reply before
                self._receive(i)

    def _start(self, i: int) -> None:
        ours, theirs = self._context.Pipe()
        others = [r.connection for r in self._readers if r is not None] if self._forked else []
        self._slots.beats[i] = 0
        process = self._context.Process(
            target=serve,
            args=(
                self._data, self._slots, i, theirs, self._limits, [*others, ours] if self._forked else [], os.getpid()
            ),
            daemon=True,
        )  # fmt: skip
        try:
            process.start()
        except OSError as error:
            raise RunError(f"no reader process can be started ({error.strerror}); give fewer --workers") from error
        theirs.close()
        self._readers[i] = _Reader(process, ours)

    def _receive(self, i: int) -> None:
        """Receives everything that a reader has sent."""
        reader = self._readers[i]
        assert reader is not None
        try:
            while reader.connection.poll():
                message = reader.connection.recv()
                reader.stalled = reader.spent = 0.0
                if message is None:
                    reader.ready, self._barren = True, 0
                    continue
                number, reply = message
                reader.tasks.popleft()
                if reply.exhausted:
                    self._exhausted(i, number)
                    return
                self._finish(number, self._restored(number, reply))
        except (EOFError, OSError):
            self._replace(i)

    def _restored(self, number: int, reply: Reply) -> Any:
        return restore(reply, self._slots, self._tasks[number].slot)

    def _finish(self, number: int, item: Any) -> None:
        task = self._tasks[number]
        task.item, task.done = item, True
        if not task.wanted:
            self.release(number)

    def _give_up(self, number: int, reason: str) -> None:
        key = self._tasks[number].key
        self._given_up[self._data.path(key)] = reason
        log.info("%s: %s", self._data.path(key), reason)
        self._finish(number, self._data.failure(key, reason))

    def _exhausted(self, i: int, number: int) -> None:
        """Handles a sample that took all memory of its reader; the first time, earlier samples may be the cause."""
        self._deaths[number] += 1
        reader = self._readers[i]
        assert reader is not None
        if self._deaths[number] > 1:
            self._give_up(number, f"reading it needs more than {self._limits.memory:g} GiB of memory")
        else:
            reader.tasks.appendleft(number)
        self._retire(i)

    def _replace(self, i: int) -> None:
        """Handles a reader that died by itself, or was killed from outside."""
        reader = self._readers[i]
        assert reader is not None
        reader.process.join(5)
        how = _how_it_ended(reader.process.exitcode)
        if not reader.ready:
            self._barren += 1
            if self._barren >= _BARREN:
                self._retire(i)
                raise RunError(f"reader processes end as soon as they start ({how}); give --workers 0, or free memory")
        elif reader.tasks:
            number = reader.tasks[0]
            self._deaths[number] += 1
            if self._deaths[number] >= ATTEMPTS:
                reader.tasks.popleft()
                self._give_up(
                    number, f"the process that read it {how}, {ATTEMPTS} times: the file may be damaged or malicious"
                )
        self._retire(i)

    def _retire(self, i: int) -> None:
        """Ends a reader; tasks that it had not begun go back to the front of the queue."""
        reader = self._readers[i]
        assert reader is not None
        reader.process.kill()
        reader.process.join()
        reader.connection.close()
        self._waiting.extendleft(reversed(reader.tasks))
        self._readers[i] = None

    def _watch(self, passed: float) -> None:
        """Replaces readers that have ended, and ends those that exceeded a time limit.

        Args:
            passed: seconds spent waiting since the last check.
        """
        for i, reader in enumerate(self._readers):
            if reader is None:
                continue
            if reader.process.exitcode is not None:  # a process forked since may hold its end of the pipe open
                self._receive(i)
                if self._readers[i] is reader:
                    self._replace(i)
                continue
            if not reader.ready:
                reader.spent += passed
                if reader.spent > _START:
                    reader.process.kill()
                    self._replace(i)
                continue
            if not reader.tasks:
                continue
            beats = int(self._slots.beats[i])
            reader.stalled = 0.0 if beats != reader.beats else reader.stalled + passed
            reader.beats = beats
            reader.spent += passed
            limits, reason = self._limits, ""
            if reader.stalled > limits.stalled:
                reason = f"reading it made no progress for {limits.stalled:g} s"
            elif reader.spent > limits.seconds:
                reason = f"reading it took longer than {limits.seconds:g} s"
            if reason:
                self._give_up(reader.tasks.popleft(), reason)
                self._retire(i)


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "does not answer"
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"crashed ({signal.Signals(-code).name})"
    except ValueError:
        return f"crashed (signal {-code})"
