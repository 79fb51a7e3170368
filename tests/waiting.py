"""Waits for conditions. The limit is only reached by a test that fails."""

from __future__ import annotations

import time
from collections.abc import Callable

LIMIT_SECONDS = 120


def wait_until(condition: Callable[[], bool], expected: str) -> None:
    """Wait until the condition holds. ``expected`` names the condition in the failure message."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {LIMIT_SECONDS} s: {expected}"
        time.sleep(0.01)
