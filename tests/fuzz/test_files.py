"""Damaged files of every kind that Kinema reads: read or refused in one sentence, and never anything else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fuzz.read_files import TARGETS, Damager


@pytest.mark.filterwarnings("ignore::kinema.errors.KinemaWarning")
@pytest.mark.parametrize("name", TARGETS)
def test_a_damaged_file_is_read_or_refused(name: str, tmp_path: Path) -> None:
    damager = Damager(TARGETS[name], tmp_path)
    outcomes = Counter(damager.try_seed(seed) for seed in range(12))
    assert outcomes["refused"] + outcomes["read"] == 12
