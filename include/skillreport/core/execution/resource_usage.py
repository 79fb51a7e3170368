"""Measure the time, CPU and memory of this process, without PostgreSQL."""

from __future__ import annotations

import re
import resource
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_STATUS = Path("/proc/self/status")

# getrusage() returns the peak in KiB, on macOS in bytes.
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass
class ResourceUsage:
    """Measures wall clock and CPU in seconds until ``stop()``, and the process's peak memory in bytes."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    _wall_start: float = field(default_factory=time.monotonic, repr=False)
    _cpu_start: float = field(default_factory=time.process_time, repr=False)

    def stop(self) -> ResourceUsage:
        """Record the figures."""
        self.wall_seconds = time.monotonic() - self._wall_start
        self.cpu_seconds = time.process_time() - self._cpu_start
        self.peak_memory_bytes = peak_memory_bytes()
        return self


def peak_memory_bytes() -> int:
    """The peak resident memory of this process.

    On Linux, getrusage() also counts the parent process, because this process began as a copy of it. It is used only if the kernel has no
    other answer, as on macOS.
    """
    with suppress(OSError):
        if peak := re.search(
            r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(encoding="utf-8", errors="replace"), re.MULTILINE
        ):
            return int(peak[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT
