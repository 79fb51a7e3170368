"""The number of mapped instances of a run that work at the same time."""

from __future__ import annotations

import os

# Read by the processes that parse DAG files.
SLOTS_VARIABLE = "SKILL_BATCH_WORKER_SLOTS"
_MOST_SLOTS = 1000


def _concurrency() -> int:
    text = os.environ.get(SLOTS_VARIABLE) or "5"  # batch list, section 5.2, "concurrency"
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= _MOST_SLOTS):
        raise ValueError(f"{SLOTS_VARIABLE} must be a number from 1 to {_MOST_SLOTS}, not {text!r}")
    return int(text)


CONCURRENCY = _concurrency()
