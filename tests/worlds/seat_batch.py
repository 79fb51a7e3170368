"""A small batch on real tables, with tenants that it can process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import psycopg

from include.skillreport.core.catalog import TENANT_USAGE
from include.skillreport.core.execution import run_log
from include.skillreport.core.execution.batch import Run, StagingBatch, UnitResult, Work
from include.skillreport.core.execution.sharding import Shard
from tests.worlds import host_rows

DAY = date(2026, 10, 31)


@dataclass
class SeatBatch(StagingBatch):
    """Stages each tenant's seats (100 / max_users), then writes a login_day row with their number."""

    staging_table = "usage_signal"
    before_work: Callable[[psycopg.Connection], object] = lambda _: None
    after_write: Callable[[psycopg.Connection], object] = lambda _: None
    prepared: list[list[str]] = field(default_factory=list)
    processed: list[list[str]] = field(default_factory=list)

    def prepare(self, work: Work) -> None:
        self.prepared.append(list(work.tenant_ids))
        work.connection.execute(
            """
            INSERT INTO batch.usage_signal (
                execution_id, tenant_id, registered_users, active_users, total_logins, login_user_ids, api_calls, error_count,
                peak_concurrent_users, report_bytes, evidence_bytes, reports_generated, skill_assessments, notifications_sent,
                max_storage_gb, setting_overrides
            )
            SELECT %s, tenant_id, 100 / max_users, 0, 0, '{}', 0, 0, 0, 0, 0, 0, 0, 0, max_storage_gb, '{}'
            FROM batch.all_tenant
            WHERE tenant_id = ANY (%s)
            """,
            [work.run.execution_id, list(work.tenant_ids)],
        )

    def process(self, work: Work) -> list[UnitResult]:
        run, connection = work.run, work.connection
        self.processed.append(list(work.tenant_ids))
        self.before_work(connection)
        connection.execute(
            """
            INSERT INTO batch.login_day (tenant_id, login_date, user_ids)
            SELECT tenant_id, %s, ARRAY[registered_users::text] FROM batch.usage_signal
            WHERE execution_id = %s ORDER BY tenant_id
            ON CONFLICT (tenant_id, login_date) DO UPDATE SET user_ids = excluded.user_ids
            """,
            [run.business_date, run.execution_id],
        )
        self.after_write(connection)
        rows = connection.execute(
            """
            DELETE FROM batch.usage_signal WHERE execution_id = %s
            RETURNING tenant_id, registered_users, 100 / max_storage_gb
            """,
            [run.execution_id],
        ).fetchall()
        return [UnitResult(tenant_id, {"seats": seats}, records=1) for tenant_id, seats, _ in rows]


def plant_tenants(host: psycopg.Connection, count: int) -> list[str]:
    """Healthy tenants; returns their ids in order."""
    return [
        host_rows.tenant(host, f"T{number:02}", max_users=10, max_storage_gb=10) for number in range(count)
    ]


def break_work(host: psycopg.Connection, tenant_id: str) -> None:
    """The tenant can be prepared and not be processed."""
    host.execute("""UPDATE "MST_Tenant" SET max_storage_gb = 0 WHERE tenant_id = %s""", [tenant_id])


def open_run(platform: psycopg.Connection, tenant_ids: Sequence[str], *, dry_run: bool = False) -> Run:
    return run_log.open_execution(
        platform,
        TENANT_USAGE,
        dag_id="dag",
        run_id="run",
        business_date=DAY,
        run_date=DAY + timedelta(days=1),
        dry_run=dry_run,
        parameters={},
        shards={Shard(0, "all"): list(tenant_ids)},
    )


def kept(host: psycopg.Connection) -> dict[str, list[str]]:
    """The rows that the batch wrote, by tenant."""
    return dict(
        host.execute(
            "SELECT tenant_id, user_ids FROM batch.login_day WHERE login_date = %s", [DAY]
        ).fetchall()
    )


def outcomes(host: psycopg.Connection, run: Run) -> dict[str, tuple[Any, ...]]:
    """Status, details, error code, error message and attempts of each tenant, in order."""
    rows = host.execute(
        """
        SELECT tenant_id, status, details, error_code, error_message, attempts FROM batch.tenant_outcome
        WHERE execution_id = %s ORDER BY tenant_id
        """,
        [run.execution_id],
    )
    return {tenant_id: tuple(outcome) for tenant_id, *outcome in rows}
