"""One progress bar for commands and trainings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressBar:
    """A progress bar on stderr with the remaining time, which can be hidden and shown again.

    Text printed meanwhile still goes to stdout: rich would send it to stderr and wrap it at the terminal's width.

    Args:
        what: name of the work, shown before the bar.
        unit: unit of the counts, such as `steps`.
    """

    def __init__(self, what: str, unit: str = "") -> None:
        self._bar = Progress(
            TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn(f"{unit}," if unit else ""),
            TimeRemainingColumn(), TextColumn("left{task.fields[note]}"), console=Console(stderr=True), transient=True,
            redirect_stdout=False,
        )  # fmt: skip
        self._task = self._bar.add_task(what, total=None, note="")

    def update(self, done: int, total: int, note: str = "") -> None:
        """Moves the bar.

        Args:
            done: units finished so far.
            total: units in all.
            note: further text, shown after the remaining time.
        """
        self._bar.update(self._task, completed=done, total=total, note=f", {note}" if note else "")

    def show(self) -> None:
        """Shows the bar in its current state."""
        self._bar.start()

    def hide(self) -> None:
        """Removes the bar from the terminal; `show` brings it back."""
        self._bar.stop()


def on_terminal() -> bool:
    """True if stderr, where a bar is drawn, is a terminal."""
    return sys.stderr.isatty()


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Shows a bar while the block runs; yields None if stderr is not a terminal.

    Args:
        what: name of the work, shown before the bar.

    Yields:
        A function of (done, total) that moves the bar.
    """
    if not on_terminal():
        yield None
        return
    bar = ProgressBar(what)
    bar.show()
    try:
        yield bar.update
    finally:
        bar.hide()
