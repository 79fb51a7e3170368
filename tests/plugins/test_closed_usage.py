"""Billing's wait for the last day's usage, as Airflow calls it, at moments of its night."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from skill_batch.batches import tenant_billing
from skill_batch.batches.tenant_billing import ClosedUsageSensor
from include.skillreport.batches.tenant_billing import create_batch
from include.skillreport.core.catalog import TENANT_BILLING
from local_stack.batch_runs import LOCAL, open_run
from tests.conftest import Database
from tests.worlds.billing_rows import close_month

pytestmark = pytest.mark.tenants("T001", subscription_plan="BASIC")

OCTOBER = date(2026, 10, 1)
# 02:00 on the 1st of November in Japan.
SCHEDULED = datetime(2026, 10, 31, 17, 0, tzinfo=UTC)


class Night(datetime):
    """A clock that shows the time of the test."""

    moment = SCHEDULED

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls.moment.astimezone(tz)


@pytest.fixture(autouse=True)
def night(database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """October is closed but for the last day, on a night that the tests set."""
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", database.airflow_connection("batch_platform"))
    monkeypatch.setattr(tenant_billing, "datetime", Night)
    monkeypatch.setattr(Night, "moment", SCHEDULED)
    close_month(host, "T001", OCTOBER, last=30)


def sensor_of_a_run_at(
    database: Database, host: psycopg.Connection, opened_at: datetime, **parameters: Any
) -> ClosedUsageSensor:
    """The sensor of a billing run of October that was opened at this moment."""
    with database.connect("batch_platform") as platform:
        run, _ = open_run(
            platform, TENANT_BILLING, create_batch(LOCAL), OCTOBER, codes=["T001"], parameters=parameters
        )
    host.execute("UPDATE batch.execution_log SET started_at = %s", [opened_at])
    return ClosedUsageSensor(
        task_id="wait_for_usage",
        run={
            "execution_id": run.execution_id,
            "business_date": str(run.business_date),
            "run_date": str(run.run_date),
            "dry_run": False,
            "options": run.options,
        },
        statement_timeout=timedelta(minutes=1),
    )


def test_it_waits_until_the_last_day_is_closed(database: Database, host: psycopg.Connection) -> None:
    sensor = sensor_of_a_run_at(database, host, SCHEDULED)
    assert sensor.mode == "reschedule"
    assert sensor.poke({}) is False

    close_month(host, "T001", OCTOBER, first=31)

    assert sensor.poke({}) is True


def test_after_two_hours_it_goes_on_without(
    database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = sensor_of_a_run_at(database, host, SCHEDULED)

    monkeypatch.setattr(Night, "moment", SCHEDULED + timedelta(minutes=119))
    assert sensor.poke({}) is False
    monkeypatch.setattr(Night, "moment", SCHEDULED + timedelta(minutes=120))
    assert sensor.poke({}) is True


def test_on_any_other_day_it_does_not_wait(
    database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Night, "moment", SCHEDULED + timedelta(days=1))
    assert sensor_of_a_run_at(database, host, Night.moment).poke({}) is True


def test_a_run_that_bills_incomplete_days_does_not_wait_for_one(
    database: Database, host: psycopg.Connection
) -> None:
    sensor = sensor_of_a_run_at(database, host, SCHEDULED, allow_incomplete=True)
    assert sensor.poke({}) is True
