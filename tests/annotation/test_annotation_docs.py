"""The programs in docs/annotation.md run one after the other, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from tiny import moving_square, write_video

PAGE = Path(__file__).parent.parent.parent / "docs" / "annotation.md"


def test_the_programs_run(tmp_path: Path) -> None:
    for i in range(3):
        write_video(tmp_path / "films" / f"{i}.mp4", moving_square(np.random.default_rng(i), True, frames=12))
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(programs)], cwd=tmp_path, capture_output=True, text=True, check=False,
        timeout=300, env={**os.environ, "KINEMA_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] == ["ann 2 of 3", "ben 2 of 3", "[('wave', 0.2, 0.8), ('wave', None, None)]"]
    # Two videos of one second: they differ in 0.1 s of 2 s.
    agreed, first, second = 0.95, 1.6 / 2, 1.5 / 2
    chance = first * second + (1 - first) * (1 - second)
    assert lines[3] == f"kappa {(agreed - chance) / (1 - chance):.2f}, observed 0.95, 2 videos"
    assert lines[-1] == "None"
