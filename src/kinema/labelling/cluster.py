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
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

import torch

from kinema.card import CARD, WEIGHTS
from kinema.data.loading.limits import ReadLimits
from kinema.data.loading.loader import Loader
from kinema.errors import KinemaError, RunError
from kinema.labelling.here import Group, collate
from kinema.labelling.inputs import Entry
from kinema.labelling.network import Labeller
from kinema.labelling.reading import EntryViews, settle
from kinema.labelling.rows import Row, failed_row
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
        self._card_hash, self._options = card_hash, options
        self._labeller: Labeller | None = None

    def answer(self) -> None:
        """Answers a liveness check."""

    def rows(self, group: Sequence[Entry], read: Group, files: list[Any]) -> list[Row]:
        """Returns the rows of entries that a `Reader` has read.

        Args:
            group: the entries.
            read: the result of the reader.
            files: contains the reference to the files of the recognizer, which are fetched once.
        """
        if self._labeller is None:
            self._labeller = self._load(_ray().get(files[0]))
        found, views = read
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
        """How many groups may be on their way.

        In proportion to the kind of process of which the fewest answer, or the first network that answers would be
        given the work of all.
        """
        share = min(len(self._live[kind]) / count for kind, count in self._wanted.items())
        return ceil(_DEPTH * sum(self._wanted.values()) * share)

    def submit(self, group: Sequence[Entry]) -> tuple[Any, Any, Any]:
        """Assigns a group to the reader and the network with the least work; returns the reference of its rows."""
        reader, network = (min(self._live[kind], key=self._loads.__getitem__) for kind in ("reader", "network"))
        self._loads[reader] += 1
        self._loads[network] += 1
        return network.rows.remote(group, reader.read.remote(group), [self._files]), reader, network

    def release(self, *processes: Any) -> None:
        """Records that a group is finished or lost."""
        self._loads.subtract(processes)

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


def _rows(
    ray: Any, pool: _Pool, coming: Iterator[Entry], together: int, patience: float, card_hash: str
) -> Iterator[Row]:
    again: deque[list[Entry]] = deque()
    apart: deque[Entry] = deque()  # of groups that were lost twice; few at a time, as one may take the others along
    losses: Counter[Entry] = Counter()
    suspects: set[Any] = set()  # references of groups of one of `apart`
    running: dict[Any, tuple[list[Entry], Any, Any]] = {}
    heard = time.monotonic()
    exhausted = False
    while True:
        while len(running) < (room := pool.room):
            suspected = bool(apart) and len(suspects) < max(1, room // _SUSPECTS)
            if suspected:
                group = [apart.popleft()]
            else:
                group = again.popleft() if again else list(islice(coming, together))
            if not group:
                exhausted = True
                break
            reference, *processes = pool.submit(group)
            running[reference] = (group, *processes)
            if suspected:
                suspects.add(reference)
        if exhausted and not (again or apart or running):
            return
        done, _ = ray.wait([*running, *pool.answers], num_returns=1, timeout=min(5.0, patience))
        if not done and time.monotonic() - heard > patience:
            raise RunError(
                f"--cluster: no row arrived for {patience:g} s, so the cluster hangs or is full; "
                "check `ray status`, then repeat the command, which keeps finished rows"
            )
        for reference in done:
            heard = time.monotonic()
            group, *processes = running.pop(reference, ([],))
            suspected = reference in suspects
            suspects.discard(reference)
            try:
                found = ray.get(reference)
            except ray.exceptions.RayError as error:
                cause = _cause(ray, error)
                if isinstance(cause, KinemaError):
                    raise cause from error
                if not isinstance(cause, ray.exceptions.RayError):
                    raise
                if not group:
                    pool.answered(reference, alive=False)
                    continue
                log.info("a group of %d inputs is lost: %s", len(group), error)
                pool.release(*processes)
                pool.suspect(*processes)
                losses.update(group)
                if not suspected and losses[group[0]] < _WHOLE:
                    again.append(group)
                elif not suspected or losses[group[0]] < _WHOLE + _ATTEMPTS:
                    apart.extend(group)
                else:
                    ended = losses[group[0]]
                    why = f"the processes of the cluster that had it ended {ended} times: it may be harmful"
                    yield failed_row(group[0], card_hash, "cluster", why)
                continue
            if group:
                pool.release(*processes)
                yield from found
            else:
                pool.answered(reference, alive=True)


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
