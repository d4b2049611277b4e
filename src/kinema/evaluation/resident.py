"""Peak memory of this process."""

from __future__ import annotations

import sys
from pathlib import Path


def resident_peak() -> int:
    """Returns the peak memory of this process in bytes; on Linux since the last call, elsewhere since its start."""
    status, forget = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        forget.write_text("5")
        return int(peak.split()[1]) * 1024
    if sys.platform == "win32":
        return _windows_peak()
    import resource

    peak_now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_now if sys.platform == "darwin" else peak_now * 1024


def _windows_peak() -> int:
    """Returns the largest working set of this process in bytes."""
    import ctypes

    # PROCESS_MEMORY_COUNTERS: two 32-bit numbers, then eight of the size of a pointer; the first of these is needed.
    class Counters(ctypes.Structure):
        _fields_ = (("size", ctypes.c_uint32), ("faults", ctypes.c_uint32), ("sizes", ctypes.c_size_t * 8))

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    kernel.K32GetProcessMemoryInfo.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)
    counters = Counters(size=ctypes.sizeof(Counters))
    if not kernel.K32GetProcessMemoryInfo(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.size):
        raise ctypes.WinError(ctypes.get_last_error())  # type: ignore[attr-defined]
    return int(counters.sizes[0])
