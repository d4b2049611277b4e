"""The benchmarks of timelines and of streams run from the generation of their films to their tables."""

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


@pytest.mark.slow
def test_the_benchmark_of_minutes_accounts_for_every_frame(tmp_path: Path) -> None:
    script = SCRIPT.with_name("stream_minutes.py")
    words = [sys.executable, str(script), str(tmp_path), "--minutes", "0.2", "--rate", "2", "--networks", "tsm_r18"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    first = next(line for line in done.stdout.splitlines() if line.startswith("tsm_r18")).split()
    rate, _, arrived, used, skipped, dropped = map(int, first[1:7])
    assert rate == 2
    assert arrived == 360 == used + skipped + dropped
