"""Reads a source in a separate thread, into a bounded queue that keeps the newest frames."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from types import TracebackType

from kinema.streaming.sources import Arrived, Lost, Source


@dataclass
class Tally:
    """Counts of the frames of a source; at its end `arrived` is `used + dropped + skipped`.

    Attributes:
        arrived: frames received from the source.
        dropped: frames that newer ones replaced in the queue before they were read.
        skipped: frames that were read but not selected, because the rate to classify is lower.
        used: frames that a network saw.
        unreadable: losses, such as damaged frames and broken connections.
    """

    arrived: int = 0
    dropped: int = 0
    skipped: int = 0
    used: int = 0
    unreadable: int = 0


@dataclass(frozen=True)
class Taken:
    """A frame from the queue.

    Attributes:
        frame: the frame, with its pixels and its time in the source.
        arrival: its time of arrival, by `time.monotonic`.
    """

    frame: Arrived
    arrival: float


class SourceReader:
    """Provides the events of a source; if the source is live and the consumer slow, only the newest frames.

    A live source is never blocked: when the queue is full, its oldest frame is dropped and counted. Any other source
    waits until there is room, so that no frame is missed. Use it in a `with` statement.

    Args:
        source: the source to read.
        capacity: largest number of frames in the queue.
    """

    def __init__(self, source: Source, capacity: int = 8) -> None:
        self.tally = Tally()
        self._source, self._capacity = source, max(1, capacity)
        self._queue: deque[Taken | Lost] = deque()
        self._change = threading.Condition()
        self._ended = self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name=f"kinema source {source.name}", daemon=True)

    def __enter__(self) -> SourceReader:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._change:
            self._stopped = True
            # Counts the frames in the queue, and the one that was read but not yet counted when an interrupt came.
            self.tally.dropped = self.tally.arrived - self.tally.used - self.tally.skipped
            self._queue.clear()
            self._change.notify_all()
        self._thread.join(
            1.0
        )  # it may wait for a frame of a dead connection; a daemon thread does not keep the program alive

    def __iter__(self) -> Iterator[Taken | Lost]:
        """Yields the events until the source ends.

        Raises:
            KinemaError: the error that the source raised, after all events before it.
        """
        while True:
            with self._change:
                while not self._queue and not self._ended:
                    self._change.wait(0.5)  # with a timeout, so that a keyboard interrupt is handled
                if not self._queue:
                    if self._error is not None:
                        raise self._error
                    return
                event = self._queue.popleft()
                self._change.notify_all()
            yield event

    def _read(self) -> None:
        try:
            for event in self._source.events():
                with self._change:
                    if not self._take(event):
                        return
        except BaseException as error:
            self._error = error
        finally:
            with self._change:
                self._ended = True
                self._change.notify_all()

    def _take(self, event: Arrived | Lost) -> bool:
        """Puts an event into the queue; returns False if the reader was closed."""
        if isinstance(event, Lost):
            self.tally.unreadable += 1
        elif self._source.live:
            if len(self._queue) >= self._capacity:
                self._drop()
        else:
            while len(self._queue) >= self._capacity and not self._stopped:
                self._change.wait(0.5)
        if self._stopped:
            return False
        if isinstance(event, Arrived):
            self.tally.arrived += 1
            self._queue.append(Taken(event, monotonic()))
        else:
            self._queue.append(event)
        self._change.notify_all()
        return True

    def _drop(self) -> None:
        """Drops the oldest frame; losses are kept, because they must be reported."""
        for i, event in enumerate(self._queue):
            if isinstance(event, Taken):
                del self._queue[i]
                self.tally.dropped += 1
                return
