"""Which tests a command runs, and in which order.

``make test-rules`` runs those of rules, ``make test`` all but the slow ones, ``make test-all`` all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import pytest

# The folders with the rules of the code in include. The others have few tests of rules, and import all of Airflow.
RULES = ("tests/batches", "tests/billing", "tests/core", "tests/messaging", "tests/operations")

# Fixtures that the tests of a database or of Airflow have. A folder may replace ``database``, and then asks for the server later.
_DATABASE_OR_AIRFLOW = frozenset({"server", "database", "own_database", "migrated_metadata", "dag_bag"})

# For a test that takes minutes or starts Airflow's processes, on a machine that is busy with other work; it may also wait for its turn.
_LONG_SECONDS = 1_200


def mark(items: Iterable[pytest.Item]) -> None:
    """Mark the tests in the folders of rules that need neither the database nor Airflow, and give the exclusive and the long ones time."""
    for item in items:
        takes_long = item.get_closest_marker("exclusive") or item.get_closest_marker("long")
        if takes_long and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_LONG_SECONDS))
        is_in_rules = item.nodeid.startswith(tuple(f"{folder}/" for folder in RULES))
        if is_in_rules and not takes_long and _DATABASE_OR_AIRFLOW.isdisjoint(_fixtures(item)):
            item.add_marker("rule")


def commands(item: pytest.Item) -> list[str]:
    """The targets of the Makefile that run the test, which is no long one."""
    if item.get_closest_marker("slow"):
        return ["test-all"]
    return ["test-rules", "test", "test-all"] if item.get_closest_marker("rule") else ["test", "test-all"]


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests as xdist deals them out: each worker gets an equal share, one after the other, and takes over from the end of others.

    Each share begins with tests of ``make test``, so that a failure comes early, and ends with slow ones. The first shares have the tests
    that need Airflow: its metadata and imports take a worker ten seconds. They begin with the exclusive ones, which mostly wait and would
    leave the other workers idle at the end.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ordered = sorted(items, key=_needs_no_airflow)
    slow = [item for item in ordered if item.get_closest_marker("slow")]
    others = [item for item in ordered if not item.get_closest_marker("slow")]
    shares = zip(_sizes(len(ordered), workers), _sizes(len(others), workers), strict=True)
    return [item for whole, quick in shares for item in (*_take(others, quick), *_take(slow, whole - quick))]


def _needs_no_airflow(item: pytest.Item) -> tuple[bool, bool]:
    return item.get_closest_marker("exclusive") is None, "migrated_metadata" not in _fixtures(item)


def _fixtures(item: pytest.Item) -> list[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else []


def _sizes(tests: int, workers: int) -> Iterator[int]:
    """How many tests each worker gets first (xdist.scheduler.worksteal)."""
    for left in range(workers, 0, -1):
        yield tests // left
        tests -= tests // left


def _take(tests: list[pytest.Item], count: int) -> list[pytest.Item]:
    taken, tests[:] = tests[:count], tests[count:]
    return taken
