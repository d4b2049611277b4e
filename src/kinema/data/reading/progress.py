"""A sign of life while a file is read, so that a supervisor can tell a slow file from a hang."""

from __future__ import annotations

from collections.abc import Callable


def _ignore() -> None:
    pass


_callback: Callable[[], None] = _ignore


def beat() -> None:
    """Says that reading goes on; called for every packet that is demuxed and every packet that is decoded."""
    _callback()


def watch(callback: Callable[[], None] | None) -> None:
    """Sets what `beat` calls in this process.

    Args:
        callback: takes nothing, returns nothing and should be cheap; None stops watching.
    """
    global _callback
    _callback = callback or _ignore
