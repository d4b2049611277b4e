"""Signs of life of a reader, by which whoever watches it tells a slow file from a hang."""

from __future__ import annotations

from collections.abc import Callable

_watcher: Callable[[], None] | None = None


def watch(callback: Callable[[], None] | None) -> None:
    """Sets what is called at every sign of progress in this process; None for nothing."""
    global _watcher
    _watcher = callback


def beat() -> None:
    """Reports progress: a packet was read or a frame decoded."""
    if _watcher is not None:
        _watcher()
