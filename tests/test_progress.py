"""The progress bar of commands and trainings."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

import kinema
from kinema.progress import ProgressBar, progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr(sys, "stderr", found := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    return found


def plain(terminal: Terminal) -> str:
    return re.sub(r"\x1b\[[\d;?]*\w", "", terminal.getvalue())


def test_a_bar_is_drawn_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with progress_bar("packing videos") as progress:
        assert progress is not None
        progress(3, 4)
        print("a line", flush=True)
    assert "packing videos" in plain(terminal)
    assert "3/4" in plain(terminal)
    assert "a line" not in terminal.getvalue()
    monkeypatch.setattr(sys, "stderr", pipe := io.StringIO())
    with progress_bar("packing videos") as progress:
        assert progress is None
    assert pipe.getvalue() == ""


def test_a_bar_that_is_hidden_comes_back_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    bar = ProgressBar("training", "steps")
    bar.update(2, 9)
    bar.show()
    bar.hide()
    before = len(terminal.getvalue())
    bar.update(5, 9)
    assert len(terminal.getvalue()) == before
    bar.show()
    bar.hide()
    assert "5/9 steps," in plain(terminal)


def test_a_failure_takes_the_bar_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with pytest.raises(ValueError, match="inside"), progress_bar("work") as progress:
        assert progress is not None
        progress(1, 2)
        raise ValueError("inside")
    assert terminal.getvalue().rstrip("\x1b[2K\r\n").count("\x1b[?25h") == 1  # the cursor is shown again


def test_one_module_draws_bars() -> None:
    package = Path(kinema.__file__).parent
    drawing = {p.name for p in package.rglob("*.py") if "rich.progress" in p.read_text("utf-8")}
    assert drawing == {"progress.py"}
