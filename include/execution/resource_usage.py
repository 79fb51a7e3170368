"""Time, CPU and memory of a piece of work in this process (PostgreSQL's share is not in it)."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass, field

# getrusage() counts the peak in KiB, except on macOS, where it counts bytes.
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass
class ResourceUsage:
    """Measures from its making until ``stop()``: seconds of wall clock and CPU, and the process's peak memory in bytes."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    _wall_start: float = field(default_factory=time.monotonic, repr=False)
    _cpu_start: float = field(default_factory=time.process_time, repr=False)

    def stop(self) -> ResourceUsage:
        """Take the figures up to now."""
        self.wall_seconds = time.monotonic() - self._wall_start
        self.cpu_seconds = time.process_time() - self._cpu_start
        self.peak_memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT
        return self
