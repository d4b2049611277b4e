from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from data.loading.planted import Planted, tensor

from kinema.data.loading import pool as pool_module
from kinema.data.loading.calls import call_each
from kinema.data.loading.limits import ReadLimits
from kinema.data.loading.loader import Loader
from kinema.data.loading.pool import ATTEMPTS
from kinema.errors import KinemaError, RunError

QUICK = ReadLimits(seconds=3, stalled=1.5, memory=0.5)


def copied(items: list[Any]) -> list[Any]:
    """Batches of copies: the tensors of a loader's samples are views."""
    return [
        {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in item.items()}
        if isinstance(item, dict)
        else item
        for item in items
    ]


def batches_of(n: int, size: int) -> list[range]:
    return [range(begin, min(begin + size, n)) for begin in range(0, n, size)]


def load(data: Planted, size: int = 3, readers: int = 2, limits: ReadLimits = QUICK) -> list[list[Any]]:
    batches = batches_of(len(data.kinds), size)
    with Loader(data, batches, copied, readers=readers, largest=size, limits=limits) as loader:
        return list(loader)


def check(batches: Sequence[Sequence[Any]], kinds: Sequence[str], bad: Sequence[str]) -> dict[int, str]:
    """Requires every sample at its place, the good ones whole; returns the reasons of the others."""
    items = [item for batch in batches for item in batch]
    assert len(items) == len(kinds)
    reasons = {}
    for i, (item, kind) in enumerate(zip(items, kinds, strict=True)):
        if kind in bad:
            number, reasons[i] = item
            assert number == i
        else:
            assert item["index"] == i
            assert item["label"].tolist() == [i, -i]
            assert torch.equal(item["pixels"], tensor(i))
            assert item["pixels"].stride() == tensor(i).stride() or not item["pixels"].is_contiguous()
    return reasons


@pytest.mark.parametrize("readers", [0, 1, 2, 5])
@pytest.mark.parametrize("size", [1, 4, 30])
def test_samples_arrive_in_order_whatever_reads_them(readers: int, size: int) -> None:
    kinds = ["ok"] * 30
    assert check(load(Planted(kinds), size, readers), kinds, []) == {}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("segfault", "SIGSEGV"),
        ("abort", "SIGABRT"),
        ("exit", "status 3"),
        ("sleep", "no progress for 1.5 s"),
        ("stop", "no progress for 1.5 s"),
        ("spin", "no progress for 1.5 s"),
        ("endless", "longer than 3 s"),
        ("memory", "more than 0.5 GiB of memory"),
        ("tensor memory", "more than 0.5 GiB of memory"),
        ("value", "ValueError: a bug in two lines"),
        ("disk", "Input/output error"),
        ("permission", "Permission denied"),
    ],
)
def test_a_disaster_costs_its_sample_and_nothing_else(kind: str, words: str) -> None:
    kinds = ["ok"] * 5 + [kind] + ["ok"] * 6
    reasons = check(load(Planted(kinds)), kinds, [kind])
    assert list(reasons) == [5]
    assert words in reasons[5]


def test_many_disasters_in_every_place() -> None:
    bad = ["segfault", "exit", "value", "disk"]
    kinds = [*bad, "ok", *bad, *bad, "ok", "ok", *bad]
    reasons = check(load(Planted(kinds), size=4, readers=3), kinds, bad)
    assert len(reasons) == 16


def test_all_samples_may_be_bad() -> None:
    kinds = ["segfault"] * 4
    assert len(check(load(Planted(kinds), readers=1), kinds, ["segfault"])) == 4


def test_a_sample_whose_reader_was_killed_by_somebody_is_read_again(tmp_path: Path) -> None:
    kinds = ["ok", "killed once", "ok"]
    data = Planted(kinds, tmp_path)
    assert check(load(data), kinds, []) == {}
    assert data.times_read(1) == 2


def test_what_gave_a_reader_up_is_not_tried_in_the_next_epoch(tmp_path: Path) -> None:
    kinds = ["ok", "segfault", "ok", "sleep"]
    data = Planted(kinds, tmp_path)
    with Loader(data, batches_of(4, 2), copied, readers=2, largest=2, limits=QUICK) as loader:
        first = list(loader)
        began = time.monotonic()
        assert check(list(loader), kinds, ["segfault", "sleep"]) == check(first, kinds, ["segfault", "sleep"])
        assert time.monotonic() - began < 1
    assert data.times_read(1) == ATTEMPTS
    assert data.times_read(3) == 1
    assert data.times_read(0) == 2


def test_killed_readers_are_replaced_at_any_time(tmp_path: Path) -> None:
    kinds = ["ok"] * 40
    data = Planted(kinds, seconds=0.01)
    with Loader(data, batches_of(40, 4), copied, readers=2, largest=4, limits=QUICK) as loader:
        found = []
        for number, batch in enumerate(loader):
            found.append(batch)
            if number in (1, 4, 5):
                for reader in loader._pool._readers:  # type: ignore[union-attr]
                    assert reader is not None
                    os.kill(reader.process.pid, signal.SIGKILL)  # type: ignore[arg-type]
    assert check(found, kinds, []) == {}


def test_time_that_the_caller_takes_does_not_count(tmp_path: Path) -> None:
    kinds = ["ok"] * 12
    limits = ReadLimits(seconds=0.6, stalled=0.5)
    with Loader(Planted(kinds, seconds=0.1), batches_of(12, 3), copied, readers=1, largest=3, limits=limits) as loader:
        found = []
        for batch in loader:
            time.sleep(0.8)
            found.append(batch)
    assert check(found, kinds, []) == {}


def test_an_epoch_that_is_left_early_does_not_disturb_the_next() -> None:
    kinds = ["ok"] * 30
    with Loader(Planted(kinds, seconds=0.01), batches_of(30, 3), copied, readers=2, largest=3) as loader:
        for _ in range(3):
            next(iter(loader))
            check(list(loader), kinds, [])


def test_readers_that_cannot_start_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "serve", lambda *arguments: os._exit(9))
    began = time.monotonic()
    with pytest.raises(RunError, match="--workers"):
        load(Planted(["ok"] * 3))
    assert time.monotonic() - began < 5


def test_a_batch_above_the_largest_is_a_mistake_of_the_caller() -> None:
    with (
        Loader(Planted(["ok"] * 50), [range(50)], copied, readers=2, largest=2) as loader,
        pytest.raises(ValueError, match="a batch of 50"),
    ):
        list(loader)


def test_more_bytes_than_a_shared_memory_mount_holds() -> None:
    """Where /dev/shm has 64 MB, as in a container: readers share memory that no mount bounds."""
    code = (
        "import torch; from data.loading.planted import Planted; from kinema.data.loading.loader import Loader\n"
        "class Large(Planted):\n"
        "    def __getitem__(self, i): return {'pixels': torch.full((2**24,), i, dtype=torch.uint8)}\n"
        "def total(items): return int(items[0]['pixels'].sum())\n"
        "data = Large(['ok'] * 8, item_bytes=2**24)\n"
        "with Loader(data, [[i] for i in range(8)], total, readers=2, largest=1) as loader:\n"
        "    print(list(loader) == [i * 2**24 for i in range(8)])\n"
    )
    small = 'mount -t tmpfs -o size=8m tmpfs /dev/shm && exec "$@"'
    tests = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", code]
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0:
        command = ["unshare", "-m", "bash", "-c", small, "bash", *command]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.stdout.strip() == "True", done.stderr


def test_readers_end_with_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from data.loading.planted import Planted\n"
        "from kinema.data.loading.loader import Loader\n"
        "data = Planted(['ok'] * 99, Path(sys.argv[1]))\n"
        "loader = Loader(data, [[i] for i in range(99)], len, readers=2, largest=1)\n"
        "iterator = iter(loader); next(iterator); next(iterator)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    tests = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path])}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=300, env=environment, check=False)
    readers = {int(path.name.split()[2]) for path in tmp_path.iterdir()}
    assert readers
    ends = time.monotonic() + 10
    while time.monotonic() < ends and any(Path(f"/proc/{reader}").exists() for reader in readers):
        time.sleep(0.1)
    assert not any(Path(f"/proc/{reader}").exists() for reader in readers)


def test_spawned_readers_share_memory_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on systems where processes are not forked."""
    monkeypatch.setattr(pool_module.sys, "platform", "darwin")
    monkeypatch.setattr(pool_module.multiprocessing, "get_context", lambda name: _spawn())
    kinds = ["ok", "segfault", "ok", "value"]
    reasons = check(load(Planted(kinds), readers=1, limits=ReadLimits()), kinds, ["segfault", "value"])
    assert list(reasons) == [1, 3]


def _spawn() -> Any:
    from multiprocessing.context import SpawnContext

    return SpawnContext()


@pytest.mark.parametrize(
    "values", [{"seconds": 0}, {"stalled": -1}, {"memory": float("nan")}, {"memory": float("inf")}]
)
def test_limits_are_above_zero(values: dict[str, float]) -> None:
    with pytest.raises(KinemaError, match=f"limits.{next(iter(values))}"):
        ReadLimits(**values)


def length_of(path: str) -> int:
    if path == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if path == "error":
        raise ValueError("odd")
    return len(path)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_function_of_a_file_may_crash(workers: int) -> None:
    paths = ["a", "crash", "abc", "error", "ab"]
    found = call_each(length_of, paths, lambda reason: reason, workers=workers)
    assert [found[i] for i in (0, 2, 4)] == [1, 3, 2]
    assert "SIGSEGV" in str(found[1]) and "odd" in str(found[3])
    assert call_each(length_of, [], str, workers=workers) == []
