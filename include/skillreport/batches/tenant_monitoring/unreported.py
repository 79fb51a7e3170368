"""Failed runs without an alert: the worker was killed between the failure and its alert."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.execution.run_log import RunResult, failed_tenants, problems_of
from include.skillreport.core.operation_catalog import RUN_SPECS
from include.skillreport.core.run_spec import RunSpec

_SQL = Statements(Path(__file__).parent)

# Storing an alert may take this long. Older failures were reported by an earlier check, or stay unreported.
_GRACE = timedelta(minutes=10)
_LOOKED_BACK = timedelta(hours=6)


@dataclass(frozen=True)
class UnreportedFailure:
    """A failed run with Airflow's ids, its attempt (the number of clears), and its result.

    ``triggered_by`` is the user of a manual run, and always set for a dry run.
    """

    spec: RunSpec
    dag_id: str
    run_id: str
    attempt: int
    result: RunResult
    dry_run: bool
    triggered_by: str | None


@dataclass(frozen=True)
class UnclosedExecution:
    """A run that a cleared task reopened at ``reopened_at`` (aware), and that no task has closed since.

    ``triggered_by`` is the user of a manual run, and always set for a dry run.
    """

    execution_id: str
    spec: RunSpec
    dag_id: str
    run_id: str
    reopened_at: datetime
    dry_run: bool
    triggered_by: str | None


def unclosed_executions(platform: psycopg.Connection, now: datetime) -> list[UnclosedExecution]:
    """Executions that were reopened more than ten minutes before ``now`` (aware), oldest first. Some may still run in Airflow."""
    rows = _SQL.execute(platform, "unclosed_executions", until=now - _GRACE)
    return [
        UnclosedExecution(execution_id, RUN_SPECS[batch_id], *others)
        for execution_id, batch_id, *others in rows
    ]


def unreported_failures(platform: psycopg.Connection, now: datetime) -> Iterator[UnreportedFailure]:
    """Failures between six hours and ten minutes before ``now`` (aware), oldest first."""
    rows = _SQL.rows(platform, "unreported_failures", since=now - _LOOKED_BACK, until=now - _GRACE)
    for row in rows:
        dag_id, run_id, attempt = row.pop("dag_id"), row.pop("run_id"), row.pop("attempt")
        dry_run, triggered_by = row.pop("dry_run"), row.pop("triggered_by")
        error = row.pop("error_message")
        tenants = failed_tenants(platform, row["execution_id"])
        problems = problems_of(platform, row["execution_id"])
        if error == "。".join(each.text for each in problems):
            error = None
        result = RunResult(**row, records=0, failed_tenants=tenants, error=error, problems=problems)
        spec = RUN_SPECS[result.batch_id]
        yield UnreportedFailure(spec, dag_id, run_id, attempt, result, dry_run, triggered_by)
