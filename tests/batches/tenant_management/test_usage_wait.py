"""How long a billing run waits for the month's last day: the rule, and its inputs from the database."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from include.skillreport.batches.tenant_billing import create_batch
from include.skillreport.batches.tenant_billing.usage_wait import UsageState, is_worth_waiting, usage_state
from include.skillreport.batches.tenant_usage import create_batch as create_usage_batch
from include.skillreport.core.catalog import (
    TENANT_BILLING,
    TENANT_USAGE,
)
from local_stack.batch_runs import LOCAL, open_run, run_batch
from tests.conftest import Database
from tests.worlds import billing_rows, host_rows
from tests.worlds.billing_rows import MONTH, OCTOBER

LAST_DAY = OCTOBER.end
# 02:00 on November 1 in Japan, when the schedule opens the run.
OPENED = datetime(2026, 10, 31, 17, 0, tzinfo=UTC)
LONGEST = timedelta(hours=2)


@pytest.mark.parametrize(
    ("unclosed", "ended", "waited", "worth"),
    [
        (1, False, timedelta(0), True),
        (200, False, timedelta(minutes=119, seconds=59), True),
        (0, False, timedelta(0), False),
        (1, True, timedelta(0), False),
        (0, True, timedelta(0), False),
        (1, False, timedelta(hours=2), False),
        (1, False, timedelta(hours=9), False),
    ],
)
def test_a_run_waits_while_the_last_day_may_still_be_closed(
    unclosed: int, ended: bool, waited: timedelta, worth: bool
) -> None:
    state = UsageState(unclosed, ended, OPENED)
    assert is_worth_waiting(state, OCTOBER, OPENED + waited, LONGEST) is worth


@pytest.mark.parametrize(
    ("opened", "worth"),
    [
        (datetime(2026, 10, 31, 14, 59, tzinfo=UTC), False),  # 23:59 on the last day in Japan
        (datetime(2026, 10, 31, 15, 0, tzinfo=UTC), True),  # midnight
        (datetime(2026, 11, 1, 14, 59, tzinfo=UTC), True),
        (
            datetime(2026, 11, 1, 15, 0, tzinfo=UTC),
            False,
        ),  # a day later: without an operator it is not closed any more
        (datetime(2026, 12, 1, 0, 0, tzinfo=UTC), False),
    ],
)
def test_only_the_day_after_the_month_in_japan_is_worth_waiting(opened: datetime, worth: bool) -> None:
    state = UsageState(1, False, opened)
    assert is_worth_waiting(state, OCTOBER, opened, LONGEST) is worth


def test_the_longest_wait_counts_from_opening_in_any_time_zone() -> None:
    opened = OPENED.astimezone(tz=None)
    assert is_worth_waiting(UsageState(1, False, opened), OCTOBER, OPENED, timedelta(seconds=1))
    assert not is_worth_waiting(UsageState(1, False, opened), OCTOBER, OPENED, timedelta(0))


# In the database ---------------------------------------------------------------------------------------------------------


def open_billing(platform: psycopg.Connection, **fields: Any) -> str:
    """Open a billing run for October; returns its id."""
    run, _ = open_run(platform, TENANT_BILLING, create_batch(LOCAL), MONTH, **fields)
    return run.execution_id


def run_usage(database: Database, platform: psycopg.Connection, day: date = LAST_DAY, **fields: Any) -> None:
    """A whole run of BATCH-018-01."""
    with database.connect("batch_tenant") as connection:
        run_batch(platform, connection, TENANT_USAGE, create_usage_batch(LOCAL), day, **fields)


def test_only_the_runs_tenants_without_the_last_day_are_counted(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    for tenant_id in ("closed", "open", "open too", "not in the run"):
        host_rows.tenant(host, tenant_id)
    billing_rows.close_month(host, "closed", first=31)
    for tenant_id in ("open", "open too"):
        billing_rows.close_month(host, tenant_id, last=30)

    execution_id = open_billing(platform, codes=["closed", "open", "open too"])

    state = usage_state(platform, execution_id, LAST_DAY)
    assert (state.unclosed_tenants, state.usage_run_ended) == (2, False)
    opened = host.execute(
        "SELECT started_at FROM batch.execution_log WHERE execution_id = %s", [execution_id]
    ).fetchone()
    assert opened == (state.opened_at,)
    assert state.opened_at.tzinfo is not None


def test_the_usage_run_of_the_last_day_ends_the_wait(
    shared_database: Database, host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A")
    execution_id = open_billing(platform)

    open_run(platform, TENANT_USAGE, create_usage_batch(LOCAL), LAST_DAY)
    assert usage_state(platform, execution_id, LAST_DAY).usage_run_ended is False

    host.execute(
        "UPDATE batch.execution_log SET status = 'failed', ended_at = now() WHERE batch_id = 'BATCH-018-01'"
    )
    state = usage_state(platform, execution_id, LAST_DAY)
    assert (state.unclosed_tenants, state.usage_run_ended) == (1, True)

    run_usage(shared_database, platform)
    state = usage_state(platform, execution_id, LAST_DAY)
    assert (state.unclosed_tenants, state.usage_run_ended) == (0, True)


def test_a_second_usage_run_that_has_not_ended_is_waited_for(
    shared_database: Database, host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A")
    run_usage(shared_database, platform, dry_run=False)
    host_rows.tenant(host, "B")
    execution_id = open_billing(platform)
    open_run(platform, TENANT_USAGE, create_usage_batch(LOCAL), LAST_DAY)

    state = usage_state(platform, execution_id, LAST_DAY)

    assert (state.unclosed_tenants, state.usage_run_ended) == (1, False)


def test_usage_runs_of_other_days_and_dry_runs_end_no_wait(
    shared_database: Database, host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A")
    execution_id = open_billing(platform)

    run_usage(shared_database, platform, dry_run=True)
    run_usage(shared_database, platform, date(2026, 10, 30))

    state = usage_state(platform, execution_id, LAST_DAY)
    assert (state.unclosed_tenants, state.usage_run_ended) == (1, False)


def test_a_run_without_tenants_has_nothing_to_wait_for(platform: psycopg.Connection) -> None:
    assert usage_state(platform, open_billing(platform), LAST_DAY).unclosed_tenants == 0
