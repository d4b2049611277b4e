"""Calls a function for many files, in processes that may crash, hang or run out of memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from kinema.data.loading.limits import ReadLimits
from kinema.data.loading.loader import Loader

Result = TypeVar("Result")


class Calls(Generic[Result]):
    """The results of a function as samples of a `Loader`; sample i belongs to path i.

    Args:
        function: function from a path to a value that can be pickled.
        paths: files or folders.
        failed: function from a reason to the placeholder for a path on which `function` ended unexpectedly.
    """

    item_bytes = 0  # values are pickled, not sent through shared memory

    def __init__(
        self, function: Callable[[str], Result], paths: Sequence[str], failed: Callable[[str], Result]
    ) -> None:
        self._function, self._paths, self._failed = function, paths, failed

    def __getitem__(self, key: int) -> tuple[Result]:
        return (self._function(self._paths[key]),)

    def path(self, key: int) -> str:
        """Returns the path of a sample."""
        return self._paths[key]

    def failure(self, key: int, reason: str) -> tuple[Result]:
        """Returns the placeholder for a call that ended unexpectedly."""
        return (self._failed(reason),)


def call_each(
    function: Callable[[str], Result], paths: Sequence[str], failed: Callable[[str], Result], *, workers: int,
    limits: ReadLimits | None = None, watch: Callable[[], None] | None = None,
) -> list[Result]:  # fmt: skip
    """Calls a function for every path, in other processes.

    Args:
        function: function from a path to a value that can be pickled.
        paths: files or folders.
        failed: function from a reason to the placeholder for a path on which `function` crashed, hung, raised an error,
            or exceeded the limits.
        workers: number of processes; 0 calls it in this process, without protection.
        limits: limits of one call.
        watch: called several times per second, unless `workers` is 0; an error that it raises ends the processes.

    Returns:
        The values, in the order of the paths.
    """
    batches = [[i] for i in range(len(paths))]
    readers = min(workers, len(paths))
    calls = Calls(function, paths, failed)
    with Loader(calls, batches, _only, readers=readers, largest=1, limits=limits, watch=watch) as loader:
        return list(loader)


def _only(items: list[Any]) -> Any:
    ((value,),) = items
    return value
