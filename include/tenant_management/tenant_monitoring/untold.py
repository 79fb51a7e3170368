"""Failed runs of which nobody was told: the worker was killed between the failure and its alert."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from include.catalog import BATCHES, BatchSpec
from include.database import read_sql
from include.execution.run_log import RunResult, failed_tenants

_HERE = Path(__file__).parent

# An alert may take so long to be written down; and what is older was told by an earlier look, or is no news.
_GRACE = timedelta(minutes=10)
_LOOKED_BACK = timedelta(hours=6)


@dataclass(frozen=True)
class UntoldFailure:
    """A run of a batch, as Airflow names it, which attempt of it (how often it had been cleared), and how it ended."""

    spec: BatchSpec
    dag_id: str
    run_id: str
    attempt: int
    result: RunResult


@dataclass(frozen=True)
class UnclosedExecution:
    """A run that a cleared task has worked on since ``reopened_at`` (aware), and that nobody has closed again."""

    execution_id: str
    spec: BatchSpec
    dag_id: str
    run_id: str
    reopened_at: datetime


def unclosed_executions(platform: psycopg.Connection, now: datetime) -> list[UnclosedExecution]:
    """Those that were reopened more than ten minutes before ``now`` (aware), oldest first. They may still be working: ask Airflow."""
    specs = {spec.id: spec for spec in BATCHES}
    rows = platform.execute(read_sql(_HERE, "unclosed_executions"), {"until": now - _GRACE})
    return [
        UnclosedExecution(execution_id, specs[batch_id], dag_id, run_id, reopened_at)
        for execution_id, batch_id, dag_id, run_id, reopened_at in rows
    ]


def untold_failures(platform: psycopg.Connection, now: datetime) -> Iterator[UntoldFailure]:
    """Those of the last six hours before ``now`` (aware), but for the last ten minutes; oldest first."""
    specs = {spec.id: spec for spec in BATCHES}
    with platform.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            read_sql(_HERE, "untold_failures"), {"since": now - _LOOKED_BACK, "until": now - _GRACE}
        ).fetchall()
    for row in rows:
        dag_id, run_id, attempt = row.pop("dag_id"), row.pop("run_id"), row.pop("attempt")
        error = row.pop("error_message")
        tenants = failed_tenants(platform, row["execution_id"])
        result = RunResult(**row, records=0, failed_tenants=tenants, error=error)
        yield UntoldFailure(specs[result.batch_id], dag_id, run_id, attempt, result)
