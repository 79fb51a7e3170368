"""The nights before the demo: BATCH-018-01 for past days, with the product's own code and without Airflow."""

from __future__ import annotations

from datetime import date, timedelta

import psycopg

from include.catalog import TENANT_USAGE
from include.execution import run_log
from include.execution.tenant_work import process_shard
from include.tenant_management.tenant_usage import create_batch


def close_days(
    platform: psycopg.Connection, connection: psycopg.Connection, first_day: date, days: int
) -> None:
    """Aggregate and close ``days`` Japanese days from ``first_day``, all active tenants together."""
    batch = create_batch()
    tenants = run_log.select_tenants(platform, ()).tenants
    for offset in range(days):
        run = run_log.open_execution(
            platform,
            TENANT_USAGE,
            dag_id="demo",
            run_id="history",
            business_date=first_day + timedelta(days=offset),
            dry_run=False,
            parameters={},
            tenants=tenants,
        )
        process_shard(connection, platform, batch, run, [tenant.id for tenant in tenants])
        run_log.close_execution(platform, run)
