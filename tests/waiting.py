"""Waits for conditions. The limit is only reached by a test that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LIMIT_SECONDS = 120


def wait_until(condition: Callable[[], bool], expected: str) -> None:
    """Wait until the condition holds. ``expected`` names the condition in the failure message."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {LIMIT_SECONDS} s: {expected}"
        time.sleep(0.01)


def in_a_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """The work in another thread, which has begun; the list gets what it raises."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, failed
