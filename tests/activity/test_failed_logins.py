"""A failed login is no activity, for every batch that counts people."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from include.skillreport.batches import (
    inactive_tenants,
    monthly_report,
    statistics,
    tenant_monitoring,
    tenant_usage,
)
from include.skillreport.core.catalog import (
    INACTIVE_TENANTS,
    MONTHLY_REPORT,
    STATISTICS,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.execution.batch import Batch
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.run_spec import BatchSpec
from local_stack.batch_runs import LOCAL, run_batch
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.billing_rows import close_month, customer, reasons, run_billing
from tests.worlds.monthly_rows import book_of, cells

# openpyxl cannot show data bars.
pytestmark = pytest.mark.filterwarnings("ignore:.*xtension is not supported:UserWarning")

SEPTEMBER, DAY, OCTOBER = date(2026, 9, 1), date(2026, 9, 30), date(2026, 10, 1)
NOON = datetime(2026, 9, 30, 3)  # UTC
NEXT_DAY = datetime(2026, 10, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo"))
TRIED, IN = "tried", "in"  # the tenants of a person who tried to log in, and of one who did

BATCHES: dict[BatchSpec, Batch] = {
    TENANT_MONITORING: tenant_monitoring.create_batch(LOCAL),
    TENANT_USAGE: tenant_usage.create_batch(LOCAL),
    STATISTICS: statistics.create_batch(LOCAL),
    INACTIVE_TENANTS: inactive_tenants.create_batch(LOCAL),
    MONTHLY_REPORT: monthly_report.create_batch(LOCAL),
}


@pytest.fixture(autouse=True)
def logins(host: psycopg.Connection) -> None:
    """Audited logins of one day, in tenants whose contract had ended. The application keeps no last login."""
    for tenant_id in (TRIED, IN):
        customer(host, tenant_id, months=(), contract_end_date=datetime(2026, 9, 15, 3))
        close_month(host, tenant_id, SEPTEMBER, last=29)
        host_rows.user(host, tenant_id, f"user {tenant_id}")
    for action, result in (
        ("LOGIN", "FAILURE"),
        ("login ", "failed"),
        ("Login", "Error "),
        ("LOGIN", "DENIED"),
    ):
        for tenant_id in (TRIED, IN):
            host_rows.audit(host, f"user {tenant_id}", NOON, action_type=action, result_status=result)
        host_rows.audit(host, "guessed", NOON, action_type=action, result_status=result, tenant_id=TRIED)
    host_rows.audit(host, f"user {IN}", NOON - timedelta(hours=1), action_type="LOGIN", result_status=None)


@pytest.mark.parametrize("is_counted_by_hours", [False, True])
def test_usage_statistics_inactivity_report_and_billing_count_no_failed_login(
    database: Database, host: psycopg.Connection, tmp_path: Path, is_counted_by_hours: bool
) -> None:
    def run(spec: BatchSpec, day: date, **options: Any) -> None:
        with database.working() as (platform, connection):
            run_batch(platform, connection, spec, BATCHES[spec], day, **options)

    if is_counted_by_hours:
        run(TENANT_MONITORING, OCTOBER, run_at=NEXT_DAY)
        host.execute('DELETE FROM "HIS_AuditLog"')
    for spec in (TENANT_USAGE, STATISTICS, INACTIVE_TENANTS):
        run(spec, DAY, run_at=NEXT_DAY)
    run(MONTHLY_REPORT, OCTOBER, store=ObjectStore(tmp_path))

    def written(columns: str, table: str, condition: str = "true") -> dict[str, object]:
        rows = host.execute(
            f"SELECT tenant_id, {columns} FROM batch.{table} WHERE {condition}".encode()
        ).fetchall()
        return {tenant_id: figures for tenant_id, *figures in rows}

    def reported(tenant_id: str) -> list[object]:
        (path,) = tmp_path.rglob(f"*_{tenant_id}_*.xlsx")
        return [row[4] for row in cells(book_of(path), "ユーザー統計") if isinstance(row[4], datetime)]

    of_day = "active_users, total_logins, unplaced_events"
    assert written(of_day, "usage_day", f"usage_date = '{DAY}'") == {TRIED: [0, 0, 0], IN: [1, 1, 0]}
    assert written("users_active, logins", "statistics_day") == {TRIED: [0, 0], IN: [1, 1]}
    assert written("last_activity_on", "tenant_inactivity") == {TRIED: [None], IN: [DAY]}
    assert {each: reported(each) for each in (TRIED, IN)} == {
        TRIED: [],
        IN: [datetime(2026, 9, 30)],
    }
    assert reasons(run_billing(database, SEPTEMBER)).keys() == {IN}
