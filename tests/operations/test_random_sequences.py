"""Two people work on the same months in random order: nothing is billed twice, and all books agree to the yen.

Each sequence is random but reproducible: its number is the seed.
"""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database
from tests.worlds.office import Office
from tests.worlds.own_settings import change_billing

STEPS, MANY_STEPS = 16, 28


def _run(
    seed: int,
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    steps: int = STEPS,
) -> Office:
    office = Office(seed, database, host, platform, store)
    office.work(steps)
    office.check()
    return office


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A full credit of one person waits for the other's approval."""
    change_billing(monkeypatch, tmp_path, operation_limit=5000)


@pytest.mark.slow("runs sessions against each other")
@pytest.mark.parametrize("seed", range(6))
def test_two_people_in_random_order_bill_nothing_twice(
    seed: int, database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    office = _run(seed, database, host, platform, store)

    assert office.done["bill"], office.log


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1300))
def test_many_sequences_of_two_people_bill_nothing_twice(
    seed: int, database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    _run(seed, database, host, platform, store, MANY_STEPS)
