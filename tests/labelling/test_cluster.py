"""What becomes of rows when parts of a cluster are lost; the tests with a real cluster are slow, as it takes seconds to
start."""

from __future__ import annotations

import builtins
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from labelling.small import assert_same, label_quietly, plain, small_input

from kinema.errors import KinemaError, RunError
from kinema.labelling import cluster, read_labels
from kinema.labelling import run as run_module
from kinema.labelling.cluster import _rows, _sizes
from kinema.labelling.inputs import Entry
from kinema.labelling.reading import EntryViews
from kinema.labelling.rows import Row


class LostError(Exception):
    """What Ray raises for a process or a node that is gone."""


class FakeCluster:
    """Stands for Ray and for the pool: gives rows, loses groups that hold an input of `lost`, or never answers."""

    exceptions = SimpleNamespace(RayError=LostError, RayTaskError=ZeroDivisionError)

    def __init__(self, lost: dict[str, int], *, hangs: bool = False) -> None:
        self.lost, self.hangs, self.room = dict(lost), hangs, 3
        self.loads = {"reader": 0, "network": 0}

    def free(self, kind: str) -> str | None:
        return kind if self.loads[kind] < 2 else None

    def read(self, reader: str, group: list[Entry]) -> tuple[Any, Any]:
        self.loads[reader] += 1
        return (object(), None), None

    def compute(self, network: str, group: list[Entry], found: Any, views: Any) -> Any:
        self.loads[network] += 1
        return object(), tuple(group)

    answers = ()

    def release(self, process: str) -> None:
        self.loads[process] -= 1
        assert self.loads[process] >= 0

    def suspect(self, *processes: str) -> None:
        assert processes == ("reader", "network")

    def wait(self, references: list[Any], *, num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        if self.hangs:
            time.sleep(0.01)
            return [], references
        return references[-num_returns:], references[:-num_returns]  # the last one first

    def get(self, reference: Any) -> list[Row]:
        for entry in reference[1] or ():
            if self.lost.get(entry.place, 0) > 0:
                self.lost[entry.place] -= 1
                raise LostError
        return [Row(*entry.key, "h", "c", label="jump") for entry in reference[1] or ()]


def outcome(lost: dict[str, int]) -> dict[str, str | None]:
    fake = FakeCluster(lost)
    rows = list(_rows(fake, fake, map(Entry, "abcdefgh"), 3, 1.0, "c"))  # type: ignore[arg-type]
    assert sorted(row.path for row in rows) == list("abcdefgh")
    return {row.path: row.stage for row in rows}


def test_a_lost_group_is_given_out_again() -> None:
    assert set(outcome({"b": 1, "g": 2}).values()) == {None}


def test_an_input_that_is_lost_three_times_costs_one_row() -> None:
    assert {path: stage for path, stage in outcome({"b": 99}).items() if stage} == {"b": "cluster"}


def test_a_cluster_that_hangs_ends_with_a_sentence() -> None:
    fake = FakeCluster({}, hangs=True)
    with pytest.raises(RunError, match="hangs"):
        list(_rows(fake, fake, map(Entry, "ab"), 3, 0.1, "c"))  # type: ignore[arg-type]


def test_sizes_follow_the_cluster() -> None:
    assert _sizes({"CPU": 2.0}, -1, -1) == (1, 1, False)
    assert _sizes({"CPU": 16.0, "GPU": 4.0}, -1, -1) == (12, 4, True)
    assert _sizes({"CPU": 16.0}, 5, 2) == (5, 2, False)
    with pytest.raises(KinemaError, match="--workers 20"):
        _sizes({"CPU": 16.0}, 20, 2)


def test_without_ray_the_command_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **more: Any) -> Any:
        if name == "ray":
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(KinemaError, match=r"kinema\[cluster\]"):
        label_quietly(small_input(tmp_path / "clips"), tmp_path / "table", cluster="local")


class Poisoned(EntryViews):
    """One of the videos kills whatever reads it."""

    def __getitem__(self, entry: Any) -> dict[str, Any]:
        if entry.place.endswith("clip 3.mp4"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().__getitem__(entry)


# Where processes of the cluster, to which this travels by value, write their numbers.
PIDS = Path(tempfile.gettempdir()) / f"kinema-cluster-{os.getpid()}"


class Slow(EntryViews):
    """Every video takes a while, so that there is time to kill something."""

    def __getitem__(self, entry: Any) -> dict[str, Any]:
        (PIDS / f"reader {os.getppid()}").touch()
        time.sleep(0.4)
        return super().__getitem__(entry)


class KnownNetwork(cluster.Network):
    """One whose number is known."""

    def rows(self, *args: Any) -> list[Row]:
        (PIDS / f"network {os.getpid()}").touch()
        return super().rows(*args)


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    found = pytest.importorskip("ray")
    # Classes of this file go to the cluster by value: its processes cannot import a test.
    found.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    found.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    yield found
    found.shutdown()


@pytest.mark.slow
def test_the_table_of_a_cluster_is_that_of_one_process(ray: Any, tmp_path: Path) -> None:
    clips = small_input(tmp_path / "clips")
    label_quietly(clips, tmp_path / "here", features=True)
    label_quietly(clips, tmp_path / "there", features=True, cluster="local", workers=2, networks=1)
    assert_same(*(plain(tmp_path / name).drop_columns(["features"]) for name in ("here", "there")))
    again = label_quietly(clips, tmp_path / "there", features=True)
    assert again.before == 8  # type: ignore[attr-defined]


@pytest.mark.slow
def test_poison_on_a_cluster_is_one_row(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = small_input(tmp_path / "clips")
    monkeypatch.setattr(run_module, "EntryViews", Poisoned)
    done = label_quietly(clips, tmp_path / "there", cluster="local", workers=1, networks=1)
    assert done.stages == {"open": 3, "reader": 1}  # type: ignore[attr-defined]
    (row,) = [row for row in read_labels(tmp_path / "there").to_pylist() if row["stage"] == "reader"]
    assert "SIGSEGV" in row["error"]
    assert row["content_hash"] is not None


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["reader", "network"])
def test_processes_that_are_killed_cost_no_row(
    victim: str, ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = small_input(tmp_path / "clips")
    label_quietly(clips, tmp_path / "here")
    monkeypatch.setattr(run_module, "EntryViews", Slow)
    monkeypatch.setattr(cluster, "Network", KnownNetwork)
    shutil.rmtree(PIDS, ignore_errors=True)
    PIDS.mkdir()
    killed: set[int] = set()
    over = threading.Event()

    def kill() -> None:
        while not killed and not over.wait(0.1):
            for pid in [int(file.name.split()[1]) for file in PIDS.glob(f"{victim} *")]:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    label_quietly(clips, tmp_path / "there", cluster="local", workers=1, networks=1)
    over.set()
    thread.join()
    shutil.rmtree(PIDS)
    assert killed
    assert_same(plain(tmp_path / "there"), plain(tmp_path / "here"))


@pytest.mark.slow
def test_a_frozen_actor_ends_the_command(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = small_input(tmp_path / "clips")

    class Frozen(EntryViews):
        def __getitem__(self, entry: Any) -> dict[str, Any]:
            os.kill(os.getppid(), signal.SIGSTOP)
            return super().__getitem__(entry)

    real = cluster.label_on_cluster
    monkeypatch.setattr(run_module, "EntryViews", Frozen)
    monkeypatch.setattr(cluster, "label_on_cluster", lambda *a, **more: real(*a, **more, patience=15.0))
    with pytest.raises(RunError, match="hangs"):
        label_quietly(clips, tmp_path / "there", cluster="local", workers=1, networks=1)


@pytest.mark.slow
def test_a_machine_that_is_lost_costs_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    ray.shutdown()
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    clips = small_input(tmp_path / "clips")
    label_quietly(clips, tmp_path / "here")
    monkeypatch.setattr(run_module, "EntryViews", Slow)
    shutil.rmtree(PIDS, ignore_errors=True)
    PIDS.mkdir()
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    lost: list[str] = []
    over = threading.Event()

    def lose() -> None:
        while not lost and not over.wait(0.1):
            if any(PIDS.glob("reader *")):
                machines.remove_node(first, allow_graceful=False)
                lost.append("first")

    try:
        first = machines.add_node(num_cpus=2)
        machines.add_node(num_cpus=2)
        thread = threading.Thread(target=lose, daemon=True)
        thread.start()
        label_quietly(clips, tmp_path / "there", cluster=machines.address, workers=2, networks=2)
        over.set()
        thread.join()
    finally:
        ray.shutdown()
        machines.shutdown()
        shutil.rmtree(PIDS)
    assert lost
    assert_same(plain(tmp_path / "there"), plain(tmp_path / "here"))


@pytest.mark.slow
@pytest.mark.parametrize("cluster_too", [False, True])
def test_many_inputs_and_kills(cluster_too: bool) -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "label_many.py"
    words = [sys.executable, str(script), "--inputs", "150", "--kills", "2"]
    if cluster_too:
        pytest.importorskip("ray")
        words += ["--cluster", "local"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the tables are equal" in done.stdout


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1", "there", "", "127.0.0.1:99999", "a:b"]
)
def test_an_address_where_nothing_answers(address: str, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(KinemaError, match=re.escape(f"--cluster {address}:")):
        label_quietly(small_input(tmp_path / "clips"), tmp_path / "table", cluster=address)
