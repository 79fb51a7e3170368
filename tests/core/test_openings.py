"""Tries of task instances: the first one, Airflow's retry, and what a user has started."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from include.skillreport.core.execution.openings import (
    LastTry,
    Opened,
    Opening,
    TaskKey,
    opened_by,
    record_opening,
)

# A task that declares two retries.
FIRST = TaskKey("process", 3, try_number=1, max_tries=2, retries=2)
RUN = ("dag", "run")


@pytest.mark.parametrize(
    ("last", "clear_number", "task", "expected"),
    [
        (None, 0, FIRST, Opened(Opening.FIRST, is_cleared=False)),
        # The first try did not reach the database; then a user cleared the run, or the instance without its run.
        (None, 1, FIRST, Opened(Opening.OTHER, is_cleared=True)),
        (None, 0, replace(FIRST, try_number=2, max_tries=3), Opened(Opening.OTHER, is_cleared=True)),
        (LastTry(0, 1, 2, False), 0, replace(FIRST, try_number=2), Opened(Opening.RETRY, is_cleared=False)),
        (LastTry(0, 1, 2, False), 1, replace(FIRST, try_number=2, max_tries=3), Opened(Opening.OTHER, is_cleared=True)),
        # A clear that leaves the run alone, and a deleted instance whose run was queued again.
        (LastTry(0, 1, 2, False), 0, replace(FIRST, try_number=2, max_tries=3), Opened(Opening.OTHER, is_cleared=True)),
        (LastTry(0, 1, 2, False), 0, FIRST, Opened(Opening.OTHER, is_cleared=True)),
        (LastTry(0, 3, 2, False), 0, replace(FIRST, try_number=2), Opened(Opening.OTHER, is_cleared=True)),
        # A retry after a clear goes on with the cleared try.
        (LastTry(1, 2, 3, True), 1, replace(FIRST, try_number=3, max_tries=3), Opened(Opening.RETRY, is_cleared=True)),
    ],
)  # fmt: skip
def test_only_airflows_next_try_is_a_retry(
    last: LastTry | None, clear_number: int, task: TaskKey, expected: Opened
) -> None:
    assert opened_by(last, clear_number, task) == expected


def test_a_try_is_known_to_the_next_one(platform: psycopg.Connection) -> None:
    def tried(try_number: int = 1, map_index: int = 3) -> Opened:
        return record_opening(platform, *RUN, 0, replace(FIRST, try_number=try_number, map_index=map_index))

    assert tried() == Opened(Opening.FIRST, is_cleared=False)
    assert tried(try_number=2) == Opened(Opening.RETRY, is_cleared=False)
    assert tried() == Opened(Opening.OTHER, is_cleared=True)
    assert tried(try_number=2) == Opened(Opening.RETRY, is_cleared=True)
    # Another instance of the task, and the same one of another run.
    assert tried(map_index=4) == Opened(Opening.FIRST, is_cleared=False)
    assert record_opening(platform, "dag", "other", 0, FIRST) == Opened(Opening.FIRST, is_cleared=False)
