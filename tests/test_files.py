"""Files in one step, and folders that one process writes into."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinema.errors import KinemaError, RunError
from kinema.files import LOCK, clear_parts, held, replace_file

HOLD = """
import os, sys, time
from pathlib import Path
from kinema.files import held
with held(Path(sys.argv[1])):
    if os.fork() == 0:  # as a process that reads videos, which sees the end of its parent after seconds only
        time.sleep(60)
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a folder, and a child of it that does nothing."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True, process_group=0
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_folder_is_one_process_s_until_that_is_killed(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    sentence = "run: another process is writing into it.*--out"
    with pytest.raises(KinemaError, match=sentence), held(tmp_path / "run"):
        pass
    other.kill()
    other.wait()
    for _ in range(2):
        with held(tmp_path / "run"):
            assert [p.name for p in (tmp_path / "run").iterdir()] == [LOCK]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = r"file/run: cannot be written \(.+\); free space or choose another folder"
    with pytest.raises(RunError, match=sentence), held(tmp_path / "file" / "run"):
        pass


def test_what_a_killed_process_was_writing_is_cleared_away(tmp_path: Path) -> None:
    def die(part: Path) -> None:
        part.rename(part.with_name(part.name.replace(".part", "-.part")))  # what nobody is left to remove
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(tmp_path / "whole.txt", die)
    (tmp_path / "letter.part").touch()
    assert len(list(tmp_path.iterdir())) == 2
    clear_parts(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.part"]
