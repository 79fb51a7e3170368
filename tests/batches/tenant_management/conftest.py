"""These tests change rows only: they share one database."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from include.skillreport.core.catalog import SCHEDULED_NOTIFICATIONS
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.run_spec import BatchSpec
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds.billing_rows import billed
from tests.worlds.outbox_rows import run_notifications
from tests.worlds.shared_database import connection, database, platform, shared_copy, shared_database

__all__ = ["billed", "connection", "database", "platform", "shared_copy", "shared_database"]


@pytest.fixture
def services() -> Iterator[StandIns]:
    """The mail server."""
    with StandIns() as stand_ins:
        yield stand_ins


@pytest.fixture
def arrived(database: Database, services: StandIns, store: ObjectStore) -> Any:
    """Runs BATCH-019-01 at 9:00 on a day, or another batch; returns the addresses to which it has sent letters."""

    def send(day: date, spec: BatchSpec = SCHEDULED_NOTIFICATIONS) -> set[str]:
        before = len(services.messages)
        run_notifications(database, services, store=store, on=day, spec=spec)
        return {each.destination for each in services.messages[before:]}

    return send
