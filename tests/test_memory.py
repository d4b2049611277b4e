"""Freed memory is kept for the next allocation."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from kinema.memory import keep_freed_memory

glibc = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc", reason="there is no glibc"
)
FAULTS = """
import resource, sys
from kinema.memory import keep_freed_memory
set = {"keep": keep_freed_memory, "return": lambda: keep_freed_memory(large=False), "default": bool}[sys.argv[1]]()
import torch
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(30):
    torch.ones(2**24)
before = faults()
for _ in range(10):
    torch.ones(2**24)
print(int(set), faults() - before)
"""


def faults(what: str, **environment: str) -> tuple[bool, int]:
    """Returns whether the allocator was set, and the page faults of ten blocks of 64 MiB (16384 pages each)."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, what], capture_output=True, text=True, check=True, env=os.environ | environment
    )
    was_set, count = done.stdout.split()
    return was_set == "1", int(count)


@glibc
def test_a_large_block_is_used_again() -> None:
    kept, given_back, default = faults("keep"), faults("return"), faults("default")
    assert kept[0]
    assert given_back[0]
    assert kept[1] < 100
    assert given_back[1] > 10 * kept[1]
    assert default[1] > 10 * kept[1]


@glibc
@pytest.mark.parametrize(
    "environment",
    [
        {"MALLOC_TRIM_THRESHOLD_": "131072"},
        {"MALLOC_MMAP_THRESHOLD_": "131072"},
        {"MALLOC_MMAP_MAX_": "1000"},
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=1000"},
    ],
)
def test_the_environment_takes_precedence(environment: dict[str, str]) -> None:
    assert not faults("keep", **environment)[0]


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert not keep_freed_memory()
