"""The steps of the demo that run now, each with a clock, on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from rich.progress import Progress, TextColumn, TimeElapsedColumn


class Clock:
    """Shows a line for each running step below all that is printed. Where no terminal is, it shows nothing."""

    def __init__(self) -> None:
        self._lines = Progress(
            TextColumn("… {task.description}", markup=False),
            TimeElapsedColumn(),
            transient=True,
            refresh_per_second=1,
            disable=not sys.stdout.isatty(),
        )

    def __enter__(self) -> Self:
        self._lines.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.stop()

    @contextmanager
    def running(self, name: str) -> Iterator[float]:
        """While the block runs, its line shows its time. Gives the start (``time.monotonic``)."""
        line = self._lines.add_task(name, total=None)
        try:
            yield time.monotonic()
        finally:
            self._lines.remove_task(line)
