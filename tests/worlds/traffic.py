"""Tenants with requests in the hour before a check, and whole runs of BATCH-018-03."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from include.skillreport.batches.tenant_monitoring import create_batch
from include.skillreport.core.catalog import TENANT_MONITORING
from include.skillreport.core.execution import run_log
from include.skillreport.core.execution.batch import Run, Work
from include.skillreport.core.execution.shard_work import prepare
from local_stack.batch_runs import LOCAL, open_run, process_tenants
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.digests import take_digest

TOKYO = ZoneInfo("Asia/Tokyo")

# A Wednesday; the four before it are no holidays.
TEN = datetime(2026, 11, 25, 10, tzinfo=TOKYO)

HOUR = timedelta(hours=1)


def utc(moment: datetime) -> datetime:
    """As the host stores it."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def tenant(host: psycopg.Connection, tenant_id: str = "T001", **values: Any) -> str:
    """A tenant of years with one account, its user's id. A login of long ago shows that the host records logins."""
    host_rows.tenant(host, tenant_id, **{"created_at": datetime(2020, 4, 1)} | values)
    user_id = host_rows.user(host, tenant_id, f"user of {tenant_id}")
    host_rows.audit(host, user_id, datetime(2020, 4, 1), action_type="LOGIN")
    return user_id


def traffic(
    host: psycopg.Connection,
    check_at: datetime,
    calls: int,
    errors: int = 0,
    *,
    tenant_id: str = "T001",
    **values: Any,
) -> None:
    """Requests of the tenant in the hour before the check."""
    request = {"response_time": 100, "url": "/api/skills"} | values
    host.execute(
        """
        INSERT INTO "SYS_SystemLog" (
            id, user_id, request_url, response_status, response_time, log_level, created_at, updated_at
        )
        SELECT
            gen_random_uuid(), %(user_id)s, %(url)s, CASE WHEN number <= %(errors)s THEN 500 ELSE 200 END,
            %(response_time)s, 'INFO', moment, moment
        FROM generate_series(1, %(calls)s) AS number
        CROSS JOIN LATERAL (SELECT %(start)s + number * interval '1 second' AS moment) AS at
        """,
        {
            **request,
            "user_id": f"user of {tenant_id}",
            "calls": calls,
            "errors": errors,
            "start": utc(check_at - HOUR),
        },
    )


def open_check(
    platform: psycopg.Connection, check_at: datetime, *, codes: tuple[str, ...] = (), dry_run: bool = False
) -> tuple[Run, list[str]]:
    """A run that begins some seconds after its hour, as the scheduler's do; with the ids of its tenants."""
    run_at = check_at + timedelta(seconds=3)
    run, tenants = open_run(
        platform,
        TENANT_MONITORING,
        create_batch(LOCAL),
        run_at.astimezone(TOKYO).date(),
        codes=codes,
        dry_run=dry_run,
        run_at=run_at,
    )
    return run, tenants


def close_check(platform: psycopg.Connection, run: Run, *, is_delivered: bool = True) -> list[str]:
    """Close the run like ``close_run``, and return the operators' digest."""
    batch = create_batch(LOCAL)
    assert run_log.close_execution(platform, run).status == "completed"
    batch.discard(Work(run, platform))
    return [] if run.dry_run else take_digest(platform, batch, run, is_delivered=is_delivered)


def check(
    database: Database,
    check_at: datetime = TEN,
    *,
    codes: tuple[str, ...] = (),
    dry_run: bool = False,
    is_delivered: bool = True,
) -> list[str]:
    """A whole run; returns the operators' digest. With ``is_delivered`` false the worker is killed before the digest is sent."""
    with database.working() as (platform, connection):
        batch = create_batch(LOCAL)
        run, tenant_ids = open_check(platform, check_at, codes=codes, dry_run=dry_run)
        assert prepare(batch, Work(run, platform, tenant_ids)) == {}
        report = process_tenants(connection, platform, batch, run, tenant_ids)
        assert report.failures == []
        return close_check(platform, run, is_delivered=is_delivered)
