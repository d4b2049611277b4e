"""What a person sees of a training: where the time went, how long it will take, and lines that stay whole."""

from __future__ import annotations

import io
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kinema.data.datasets import TrainClips
from kinema.data.transforms import Augment
from kinema.training.config import TrainConfig
from kinema.training.multigrid import Multigrid, phases, plan
from kinema.training.run import train
from kinema.training.run_log import read_metrics

SLOW = 0.1  # seconds a clip


def config(data: Path, out: Path, **changes: Any) -> TrainConfig:
    return TrainConfig(
        model="stm_r18", data=str(data), out=str(out), options={"width": 0.0625},
        clip={"frames": 4, "short_side": 40, "crop": 32}, device="cpu", logger="none",
        augment=Augment(scale="jitter", jitter=(32, 44)), **changes,
    )  # fmt: skip


def slow_to_read(monkeypatch: pytest.MonkeyPatch, frames: int) -> None:
    """Clips of so many frames take a tenth of a second more."""
    plain = TrainClips.__getitem__

    def read(self: TrainClips, key: Any) -> Any:
        if key.frames == frames:
            time.sleep(SLOW)
        return plain(self, key)

    monkeypatch.setattr(TrainClips, "__getitem__", read)


@pytest.mark.parametrize("slow", [1, 4])
def test_the_phase_that_is_slow_to_read_is_the_one_that_waits(
    slow: int, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_to_read(monkeypatch, slow)
    lines: list[str] = []
    given = config(tiny, tmp_path / "run", epochs=2, batch=1, workers=0, multigrid=Multigrid("long"))
    train(given, say=lines.append)
    steps = plan(given.multigrid, samples=12, batch=1, frames=4, crop=32)
    told = [line for line in lines if "clips/s" in line]
    assert len(told) == 2 * len(phases(steps))
    for (name, first, last), line in zip([*phases(steps)] * 2, told, strict=True):  # of the first epoch too
        assert line.startswith(f"  {name}: ")
        seconds = float(re.findall(r"([\d.]+) s,", line)[0])
        of_reading = SLOW * sum(s.clips for s in steps[first : last + 1] if s.frames == slow)
        assert seconds >= of_reading - 0.05
        waiting = float(re.findall(r"(\d+)% waiting", line)[0]) / 100
        assert waiting * seconds >= 0.9 * of_reading - 0.1
        if not of_reading:
            assert waiting * seconds < 4 * SLOW
    slow_clips = sum(s.clips for s in steps if s.frames == slow)
    for row in read_metrics(tmp_path / "run" / "metrics.csv"):
        assert row["seconds"] * row["data_wait"] >= SLOW * slow_clips - 0.05


@pytest.mark.parametrize("workers", [0, 1])
def test_the_first_batch_of_a_run_counts(
    workers: int, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_to_read(monkeypatch, 4)
    lines: list[str] = []
    run = train(config(tiny, tmp_path / "run", epochs=2, batch=12, workers=workers), say=lines.append)
    first, second = read_metrics(run / "metrics.csv")
    assert first["seconds"] > first["seconds"] * first["data_wait"] > 12 * SLOW - 0.1
    assert second["seconds"] * second["data_wait"] > 12 * SLOW - 0.1
    left = [re.findall(r", (\d+):(\d\d) left$", line)[0] for line in lines if line.startswith("epoch")]
    assert 60 * int(left[0][0]) + int(left[0][1]) >= 1  # the other epoch
    assert left[1] == ("0", "00")


def test_beside_a_bar_lines_go_to_stdout_and_stay_whole(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    train(config(tiny, tmp_path / "run", epochs=2, batch=1, workers=0, multigrid=Multigrid("long", full_epochs=1)))
    steps = len(plan(Multigrid("long"), samples=12, batch=1, frames=4, crop=32)) + 12
    assert f"{steps}/{steps}" in re.sub(r"\x1b\[[\d;?]*\w", "", terminal.getvalue())
    assert "epoch" not in terminal.getvalue()
    lines = capsys.readouterr().out.splitlines()
    assert (
        sum(re.match(r"epoch \d/2: loss .+ waiting for data, \d+:\d\d left$", line) is not None for line in lines) == 2
    )
    assert sum(line.startswith("  ") and line.endswith("% waiting for data") for line in lines) >= 3
