"""The C library's memory allocator."""

from __future__ import annotations

import os
import sys

# Parameters of glibc's `mallopt`, and the highest values that its automatic adjustment gives to the first two.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_TRIM, _LARGE, _MAPPED = 2**26, 2**25, 65536


def keep_freed_memory(large: bool = True) -> bool:
    """Makes this process keep memory that it frees, for its next allocations. The commands of Kinema do this.

    By default, glibc gives large blocks back to the system as soon as they are freed, and the system clears every page
    of the next one. A network on a CPU allocates and frees its activations in each pass; `benchmarks/allocator.py`
    measures what this costs. With this setting, the process stays as large as it once was.

    It has an effect on Linux with glibc only. The environment takes precedence: nothing is changed if it sets
    `MALLOC_TRIM_THRESHOLD_`, `MALLOC_MMAP_MAX_`, `MALLOC_MMAP_THRESHOLD_`, or `glibc.malloc` in `GLIBC_TUNABLES`.

    Args:
        large: also keep blocks of more than 32 MiB; False gives them back, and what exceeds 64 MiB at the heap's end.

    Returns:
        True if the allocator was set.
    """
    if not sys.platform.startswith("linux") or _set_by_user():
        return False
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        return False
    # Large blocks are mapped separately, and unmapped when they are freed, unless no mappings are allowed.
    trim, mapped = (-1, 0) if large else (_TRIM, _MAPPED)
    wanted = {_M_TRIM_THRESHOLD: trim, _M_MMAP_THRESHOLD: _LARGE, _M_MMAP_MAX: mapped}
    return all(mallopt(name, value) for name, value in wanted.items())


def _set_by_user() -> bool:
    names = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_")
    return any(name in os.environ for name in names) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
