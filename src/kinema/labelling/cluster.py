"""Labelling on a Ray cluster, which only carries groups of inputs to readers and views to networks.

What a row says is decided by the same code as on one machine. A group whose process or node is lost is given out again.
A group that is lost twice is given out input by input, and an input that is lost three more times gets a row that says
so. Only few of these inputs are on their way at a time: one that ends its process would take the others along, and they
would be given up too.
"""

from __future__ import annotations

import logging
import re
import socket
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinema.card import CARD, WEIGHTS
from kinema.data.loading.limits import ReadLimits
from kinema.data.loading.loader import Loader
from kinema.errors import KinemaError, RunError
from kinema.labelling.here import Group, collate
from kinema.labelling.inputs import Entry
from kinema.labelling.network import Labeller
from kinema.labelling.reading import EntryViews, settle
from kinema.labelling.rows import Row, failed_row
from kinema.memory import keep_freed_memory
from kinema.recognizer import Recognizer

log = logging.getLogger(__name__)

_CONNECT = 45.0  # seconds; after 60 s without an answer Ray would end the whole process
_KNOCK = 10.0  # seconds
_START = 300.0  # seconds for processes to start on a busy cluster and import what they need
_WHOLE = 2  # losses of a group before its inputs are given out one by one
_ATTEMPTS = 3  # losses of an input by itself
_SUSPECTS = 32  # groups that may be on their way for each one that may hold an input by itself
_DEPTH = 2  # groups per process that are on their way


class Reader:
    """A reader on the cluster: a Ray process with a child process that may crash.

    Args:
        data: reads an entry.
        largest: largest number of entries in a group.
        limits: limits for reading one entry.
    """

    def __init__(self, data: EntryViews, largest: int, limits: ReadLimits | None) -> None:
        self._groups: list[Sequence[Entry]] = []
        self._loader = Loader(data, self._groups, collate, readers=1, largest=largest, limits=limits)

    def answer(self) -> None:
        """Answers a liveness check."""

    def read(self, group: Sequence[Entry]) -> Group:
        """Returns facts of the entries, and the views of those that could be read."""
        self._groups[:] = [group]
        ((found, views),) = list(self._loader)
        return [settle(entry, facts) for entry, facts in zip(group, found, strict=True)], views


class Network:
    """A network on the cluster.

    Args:
        card_hash: card hash of the recognizer.
        cores: threads that it may use.
        options: further arguments of `Labeller`.
    """

    def __init__(self, card_hash: str, cores: int, options: dict[str, Any]) -> None:
        torch.set_num_threads(cores)
        keep_freed_memory()
        self._card_hash, self._options = card_hash, options
        self._labeller: Labeller | None = None

    def answer(self) -> None:
        """Answers a liveness check."""

    def rows(
        self, group: Sequence[Entry], found: list[dict[str, Any]], views: Tensor | None, files: list[Any]
    ) -> list[Row]:  # fmt: skip
        """Returns the rows of entries that a `Reader` has read.

        Args:
            group: the entries.
            found: their facts.
            views: the views of those that could be read.
            files: contains the reference to the files of the recognizer, which are fetched once.
        """
        if self._labeller is None:
            self._labeller = self._load(_ray().get(files[0]))
        # Arrays from the cluster's store are read-only, about which PyTorch would warn.
        return self._labeller.rows(group, found, None if views is None else views.clone())

    def _load(self, files: dict[str, bytes]) -> Labeller:
        with tempfile.TemporaryDirectory() as folder:
            for name, data in files.items():
                (Path(folder) / name).write_bytes(data)
            recognizer = Recognizer.load(folder, "cuda" if torch.cuda.is_available() else "cpu")
        return Labeller(recognizer, card=self._card_hash, **self._options)


def label_on_cluster(
    entries: Iterable[Entry], data: EntryViews, labeller: Labeller, recognizer: Recognizer, *, address: str,
    readers: int, networks: int, batch: int, limits: ReadLimits | None, patience: float | None = None,
) -> Iterator[Row]:  # fmt: skip
    """Yields a row for every entry, in the order in which they are finished.

    Args:
        entries: the inputs, whose paths must name the same files on every machine of the cluster.
        data: reads them.
        labeller: the settings of rows.
        recognizer: the trained network.
        address: `local`, or the address of a cluster.
        readers: processes that read; -1 is one per core that is not used by a network.
        networks: processes that run the network; -1 is one per GPU, or half the number of cores without a GPU.
        batch: views per forward pass.
        limits: limits for reading one input.
        patience: seconds without a row after which the cluster is considered hung; None is the time limit of a group.

    Raises:
        KinemaError: Ray is not installed.
        RunError: the cluster does not answer, hangs, or has no room for a reader and a network.
    """
    ray = _ray()
    together = max(1, batch // (data.clips * data.crops))
    limits = limits or ReadLimits()
    patience = _START + together * limits.seconds if patience is None else patience
    with _connected(ray, address):
        readers, networks, gpus = _sizes(ray.cluster_resources(), readers, networks)
        pool = _Pool(ray, data, labeller, recognizer, readers, networks, gpus, together, limits)
        yield from _rows(ray, pool, iter(entries), together, patience, labeller.card_hash)


class _Pool:
    """The processes of a labelling run on the cluster.

    Work is assigned only to processes that have answered. A process that ends is replaced here and not by Ray, which
    would keep the work of a lost machine waiting until resources for it are free again.
    """

    def __init__(
        self, ray: Any, data: EntryViews, labeller: Labeller, recognizer: Recognizer, readers: int, networks: int,
        gpus: bool, together: int, limits: ReadLimits,
    ) -> None:  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            saved = recognizer.save(folder)
            self._files = ray.put({name: (saved / name).read_bytes() for name in (CARD, WEIGHTS)})
        reader = ray.remote(num_cpus=1)(Reader)
        network = ray.remote(num_cpus=1, num_gpus=int(gpus))(Network)
        self._start: dict[str, Callable[[], Any]] = {
            "reader": lambda: reader.remote(data, together, limits),
            "network": lambda: network.remote(labeller.card_hash, 1, labeller.options),
        }
        self._live: dict[str, list[Any]] = {"reader": [], "network": []}
        self._asked: dict[Any, tuple[str, Any]] = {}  # reference of an answer -> process
        self._loads: Counter[Any] = Counter()
        self._wanted = {"reader": readers, "network": networks}
        for kind, count in self._wanted.items():
            for _ in range(count):
                self._ask(kind, self._start[kind]())

    @property
    def answers(self) -> list[Any]:
        """The references of the answers of processes that have not answered yet."""
        return list(self._asked)

    @property
    def room(self) -> int:
        """How many groups may be on their way, in proportion to the kind of process of which the fewest answer."""
        share = min(len(self._live[kind]) / count for kind, count in self._wanted.items())
        return ceil(_DEPTH * sum(self._wanted.values()) * share)

    def free(self, kind: str) -> Any:
        """Returns the `reader` or `network` with the least work, or None if all of them have enough."""
        found = min(self._live[kind], key=self._loads.__getitem__, default=None)
        return None if found is None or self._loads[found] >= _DEPTH else found

    def read(self, reader: Any, group: Sequence[Entry]) -> tuple[Any, Any]:
        """Gives a group to a reader; returns the references of the facts and of the views."""
        self._loads[reader] += 1
        found, views = reader.read.options(num_returns=2).remote(group)
        return found, views

    def compute(self, network: Any, group: Sequence[Entry], found: Any, views: Any) -> Any:
        """Gives a group that has been read to a network; returns the reference of its rows."""
        self._loads[network] += 1
        return network.rows.remote(group, found, views, [self._files])

    def release(self, process: Any) -> None:
        """Records that a process has finished or lost a group."""
        self._loads[process] -= 1

    def suspect(self, *processes: Any) -> None:
        """Records that one of these processes has ended: each gets no work until it answers."""
        for kind, live in self._live.items():
            for process in [process for process in processes if process in live]:
                live.remove(process)
                self._ask(kind, process)

    def answered(self, reference: Any, *, alive: bool) -> None:
        """Records that a process has answered, or has ended and is replaced."""
        kind, process = self._asked.pop(reference)
        if alive:
            self._live[kind].append(process)
        else:
            self._ask(kind, self._start[kind]())

    def _ask(self, kind: str, process: Any) -> None:
        self._asked[process.answer.remote()] = (kind, process)


@dataclass(eq=False)
class _Carried:
    """A group that is on its way: first with a reader, then with a network too."""

    entries: list[Entry]
    apart: bool  # one input of a group that was lost twice
    reader: Any
    views: Any
    network: Any = None


def _rows(
    ray: Any, pool: _Pool, coming: Iterator[Entry], together: int, patience: float, card_hash: str
) -> Iterator[Row]:
    again: deque[list[Entry]] = deque()
    apart: deque[Entry] = deque()  # of groups that were lost twice; few at a time, as one may take the others along
    losses: Counter[Entry] = Counter()
    running: dict[Any, _Carried] = {}  # reference of facts or of rows -> group
    waiting: deque[tuple[Any, _Carried]] = deque()  # reference of facts and group, for a network
    suspects = 0  # groups of one of `apart`
    heard = time.monotonic()
    exhausted = False
    while True:
        # A process takes its calls in their order. A network therefore gets a group only when it has been read, or one
        # slow file would block it.
        while waiting and (network := pool.free("network")) is not None:
            facts, group = waiting.popleft()
            group.network = network
            running[pool.compute(network, group.entries, facts, group.views)] = group
        while len(running) + len(waiting) < (room := pool.room) and (reader := pool.free("reader")) is not None:
            suspected = bool(apart) and suspects < max(1, room // _SUSPECTS)
            if suspected:
                entries = [apart.popleft()]
            else:
                entries = again.popleft() if again else list(islice(coming, together))
            if not entries:
                exhausted = True
                break
            facts, views = pool.read(reader, entries)
            running[facts] = _Carried(entries, suspected, reader, views)
            suspects += suspected
        if exhausted and not (again or apart or running or waiting):
            return
        done, _ = ray.wait([*running, *pool.answers], num_returns=1, timeout=min(5.0, patience))
        if not done and time.monotonic() - heard > patience:
            raise RunError(
                f"--cluster: no row arrived for {patience:g} s, so the cluster hangs or is full; "
                "check `ray status`, then repeat the command, which keeps finished rows"
            )
        for reference in done:
            heard = time.monotonic()
            carried = running.pop(reference, None)
            if carried is not None:
                pool.release(carried.reader if carried.network is None else carried.network)
            try:
                found = ray.get(reference)
            except ray.exceptions.RayError as error:
                cause = _cause(ray, error)
                if isinstance(cause, KinemaError):
                    raise cause from error
                if not isinstance(cause, ray.exceptions.RayError):
                    raise
                if carried is None:
                    pool.answered(reference, alive=False)
                    continue
                entries = carried.entries
                log.info("a group of %d inputs is lost: %s", len(entries), error)
                pool.suspect(carried.reader, carried.network)
                losses.update(entries)
                suspects -= carried.apart
                if not carried.apart and losses[entries[0]] < _WHOLE:
                    again.append(entries)
                elif not carried.apart or losses[entries[0]] < _WHOLE + _ATTEMPTS:
                    apart.extend(entries)
                else:
                    ended = losses[entries[0]]
                    why = f"the processes of the cluster that had it ended {ended} times: it may be harmful"
                    yield failed_row(entries[0], card_hash, "cluster", why)
                continue
            if carried is None:
                pool.answered(reference, alive=True)
            elif carried.network is None:
                waiting.append((reference, carried))
            else:
                suspects -= carried.apart
                yield from found


def _cause(ray: Any, error: BaseException) -> BaseException:
    """Returns the error that a process of the cluster raised, or why it ended; Ray nests it in other errors."""
    while isinstance(error, ray.exceptions.RayTaskError) and isinstance(error.cause, BaseException):
        error = error.cause
    return error


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise KinemaError("--cluster needs Ray, which is not installed: pip install 'kinema[cluster]'") from error
    return ray


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Connects to the cluster, or starts one on this machine; an existing connection of this process is kept."""
    if ray.is_initialized():
        yield
        return
    _knock(address)
    failed: list[BaseException] = []
    settled, over = threading.Event(), threading.Event()

    def connect() -> None:
        try:
            ray.init(
                address=None if address == "local" else address, log_to_driver=False, logging_level=logging.ERROR,
                include_dashboard=False if address == "local" else None,
            )  # fmt: skip
        except BaseException as error:
            failed.append(error)
        settled.set()
        over.wait()  # on Linux the processes of a local cluster end with the thread that started them

    threading.Thread(target=connect, daemon=True).start()
    if not settled.wait(_CONNECT):
        raise RunError(f"--cluster {address}: no answer within {_CONNECT:g} s; check the address")
    if failed:
        over.set()
        why = " ".join(str(failed[0]).split())[:300] or type(failed[0]).__name__
        raise RunError(
            f"--cluster {address}: no cluster can be reached ({why}); check the address, and "
            "RAY_AUTH_MODE and the token if the cluster has one"
        ) from failed[0]
    try:
        yield
    finally:
        ray.shutdown()
        over.set()


def _knock(address: str) -> None:
    """Checks whether anything answers at the address; Ray checks whether it is a cluster."""
    found = re.fullmatch(r"(?:ray://)?\[?([^/\[\]]+?)\]?:(\d{1,5})", address)
    if found is None:
        if address in ("local", "auto"):
            return
        raise KinemaError(f"--cluster {address}: not an address; give local, auto or HOST:PORT")
    try:
        socket.create_connection((found[1], int(found[2])), timeout=_KNOCK).close()
    except (OSError, OverflowError) as error:
        raise RunError(f"--cluster {address}: nothing answers there ({error}); check address and network") from error


def _sizes(resources: dict[str, float], readers: int, networks: int) -> tuple[int, int, bool]:
    """Returns the number of readers, the number of networks, and whether each network gets a GPU."""
    cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    if networks == -1:
        networks = gpus or max(1, cores // 2)
    if readers in (-1, 0):
        readers = max(1, cores - networks)
    if readers + networks > max(cores, 2):
        raise KinemaError(
            f"--workers {readers} --networks {networks}: the cluster has {cores} cores; give smaller numbers"
        )
    return readers, networks, gpus >= networks > 0
