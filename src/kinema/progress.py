"""One progress bar for commands and trainings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressBar:
    """A bar on stderr with the time left, which can be taken away and shown again.

    What is printed meanwhile still goes to stdout: rich would send it to stderr and break it at the terminal's width.

    Args:
        what: the work, shown before the bar.
        unit: of the counts, such as `steps`.
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
            note: further words, shown behind the time left.
        """
        self._bar.update(self._task, completed=done, total=total, note=f", {note}" if note else "")

    def show(self) -> None:
        """Shows the bar, with the state that it has."""
        self._bar.start()

    def hide(self) -> None:
        """Takes the bar off the terminal; `show` brings it back."""
        self._bar.stop()


def on_terminal() -> bool:
    """Whether a person watches stderr, where a bar is drawn."""
    return sys.stderr.isatty()


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar for as long as the block runs; None where stderr is not a terminal.

    Args:
        what: the work, shown before the bar.

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
