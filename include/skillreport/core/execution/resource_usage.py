"""Measure the time, CPU and memory of this process. PostgreSQL is not included."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass, field

# getrusage() returns the peak in KiB, on macOS in bytes.
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass
class ResourceUsage:
    """Measures from its creation to ``stop()``: wall clock and CPU in seconds, and the process's peak memory in bytes."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    _wall_start: float = field(default_factory=time.monotonic, repr=False)
    _cpu_start: float = field(default_factory=time.process_time, repr=False)

    def stop(self) -> ResourceUsage:
        """Record the figures."""
        self.wall_seconds = time.monotonic() - self._wall_start
        self.cpu_seconds = time.process_time() - self._cpu_start
        self.peak_memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT
        return self
