"""The benchmark of timelines runs from the generation of its films to its table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "puppets_timeline.py"


@pytest.mark.slow
def test_the_quick_benchmark_fills_its_table(tmp_path: Path) -> None:
    words = [sys.executable, str(SCRIPT), str(tmp_path / "out"), "--quick", "--distil"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "2 expected / 2 read / 0 failed" in line]
    assert [row[:24].strip() for row in rows] == ["windows", "causal", "causal, from windows", "causal, distilled"]
    assert ["mode step" in row for row in rows] == [False, True, True, True]
    assert sum("mean of 1" in line for line in done.stdout.splitlines()) == 4
