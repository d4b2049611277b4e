"""The program in the documentation runs as it stands there, on one core and without a network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_the_experiment_from_python_runs(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(encoding="utf-8"), re.S)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["tsn_r18", "tsm_r18"]
    assert "32 expected / 32 read / 0 failed" in lines[0]
    assert lines[2].startswith("Difference(difference=")
    assert lines[-1].startswith("torch.Size([1, 10]) torch.Size([1, 2048, 8, 7, 7])")
