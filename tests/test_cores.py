"""Settings of the process that are changed for a while and put back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kinema import processes as cores


def flushes() -> bool:
    return bool(torch.tensor([1e-40]).mul(1.0).eq(0).item())


def test_denormals_are_zero_inside_and_themselves_again_outside() -> None:
    assert not flushes()
    with pytest.raises(KeyError), cores.denormals_as_zero():
        assert flushes()
        raise KeyError
    assert not flushes()


def test_a_setting_of_the_caller_stays() -> None:
    torch.set_flush_denormal(True)
    try:
        with cores.denormals_as_zero():
            assert flushes()
        assert flushes()
    finally:
        torch.set_flush_denormal(False)


def test_one_core_is_left_to_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(cores, "cores", lambda: 3)
    try:
        torch.set_num_threads(4)
        with cores.room_for_readers(2):
            assert torch.get_num_threads() == 2
        with cores.room_for_readers(0):
            assert torch.get_num_threads() == 4
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    assert cores.loader_workers(-1) == 3
    assert cores.loader_workers(0) == 0


def test_processes_of_one_machine_share_its_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "cores", lambda: 6)
    assert cores.loader_workers(-1) == 6
    assert cores.loader_workers(3) == 3
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert cores.loader_workers(-1, 3) == 2  # which Lightning starts
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert cores.loader_workers(-1) == cores.loader_workers(-1, 4) == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert cores.loader_workers(-1) == 1
    for total, processes, readers in ((96, 8, 12), (96, 1, 16), (16, 1, 16), (8, 8, 1), (2, 1, 2), (256, 8, 16)):
        monkeypatch.setattr(cores, "cores", lambda total=total: total)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        assert cores.loader_workers(-1) == readers


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "250000 100000"}, 3),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "9000000 100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_the_quota_of_a_container_counts(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "_CGROUP", tmp_path)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert cores.cores() == expected
