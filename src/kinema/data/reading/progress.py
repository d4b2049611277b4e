"""Progress reports of a reader, with which its supervisor distinguishes a slow file from a hang."""

from __future__ import annotations

from collections.abc import Callable

_watcher: Callable[[], None] | None = None


def watch(callback: Callable[[], None] | None) -> None:
    """Sets the function that is called at every progress in this process; None for no function."""
    global _watcher
    _watcher = callback


def beat() -> None:
    """Reports progress: a packet was read or a frame decoded."""
    if _watcher is not None:
        _watcher()
