"""Runs and outcomes of a night, as the execution log holds them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.core.run_spec import RunSpec

_ids = count(1)


def run(
    host: psycopg.Connection,
    spec: RunSpec,
    *,
    hours_ago: float = 1,
    minutes: float | None = 10,
    failed: Mapping[str, tuple[str, str]] | None = None,
    succeeded: tuple[str, ...] = (),
    pending: tuple[str, ...] = (),
    run_id: str | None = None,
    **values: Any,
) -> str:
    """A run of a batch or operation; returns its execution id. ``minutes`` None: it has not ended.

    ``failed`` has error code and sentence by tenant id.
    """
    number = next(_ids)
    failures = failed or {}
    started_at = datetime.now(UTC) - timedelta(hours=hours_ago)
    ended_at = None if minutes is None else started_at + timedelta(minutes=minutes)
    total = len(failures) + len(succeeded) + len(pending)
    status = "partial" if succeeded else "failed"
    row = {
        "execution_id": f"{spec.id}_{number:04}",
        "batch_id": spec.id,
        "dag_id": spec.dag_id,
        "run_id": run_id or f"scheduled__{number:04}",
        "business_date": started_at.date(),
        "dry_run": False,
        "parameters": Jsonb({}),
        "execution_host": "worker",
        "status": "running" if ended_at is None else (status if failures or pending else "completed"),
        "started_at": started_at,
        "ended_at": ended_at,
        "total_tenants": total,
        "success_count": None if ended_at is None else len(succeeded),
        "error_count": None if ended_at is None else len(failures) + len(pending),
    } | values
    host.execute(
        """
        INSERT INTO batch.execution_log
        SELECT * FROM jsonb_populate_record(NULL::batch.execution_log, %s)
        """,
        [Jsonb({name: _json(value) for name, value in row.items()})],
    )
    execution_id = str(row["execution_id"])
    shards = {tenant_id: shard for shard, tenant_id in enumerate(sorted([*succeeded, *pending, *failures]))}
    for tenant_id in succeeded:
        outcome(host, execution_id, tenant_id, "success", records=1, shard=shards[tenant_id])
    for tenant_id in pending:
        outcome(host, execution_id, tenant_id, "pending", shard=shards[tenant_id])
    for tenant_id, (code, message) in failures.items():
        outcome(
            host,
            execution_id,
            tenant_id,
            "failed",
            error_code=code,
            error_message=message,
            shard=shards[tenant_id],
        )
    if row["status"] == "completed" and ended_at and minutes is not None:
        performance(host, execution_id, minutes * 60)
    return execution_id


def outcome(host: psycopg.Connection, execution_id: str, tenant_id: str, status: str, **values: Any) -> None:
    """The outcome of one tenant."""
    row = {
        "part": "",
        "shard": None,
        "records": 0,
        "error_code": None,
        "error_message": None,
        "notes": [],
    } | values
    host.execute(
        """
        INSERT INTO batch.tenant_outcome (
            execution_id, tenant_id, part, shard, status, records, error_code, error_message, notes
        )
        VALUES (
            %(execution_id)s, %(tenant_id)s, %(part)s, %(shard)s, %(status)s, %(records)s, %(error_code)s, %(error_message)s,
            %(notes)s
        )
        """,
        {"execution_id": execution_id, "tenant_id": tenant_id, "status": status} | row,
    )


def performance(host: psycopg.Connection, execution_id: str, seconds: float, **values: Any) -> None:
    """The metrics of a run that later runs are compared with."""
    row = {"cpu_seconds": seconds / 2, "peak_memory_bytes": 200 * 2**20, "records_processed": 100} | values
    host.execute(
        """
        INSERT INTO batch.performance_metric (
            execution_id, batch_id, business_date, execution_seconds, cpu_seconds, peak_memory_bytes, records_processed,
            run_id, is_comparable, recorded_at
        )
        SELECT
            execution_id, batch_id, business_date, %(seconds)s, %(cpu_seconds)s, %(peak_memory_bytes)s, %(records_processed)s,
            run_id, NOT dry_run, ended_at
        FROM batch.execution_log WHERE execution_id = %(execution_id)s
        """,
        {"execution_id": execution_id, "seconds": seconds} | row,
    )


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Jsonb):
        return value.obj
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
