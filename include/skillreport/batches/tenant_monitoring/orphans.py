"""Orphans: rows of the execution log with the status running although their run has ended. Covers all batches.

A batch closes its own orphans when its next run starts. For a monthly batch or a paused DAG this could take weeks. So this module searches
for them hourly, and reports them to the operators. The caller passes the run's state in Airflow.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.execution import run_log
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.run_log import RunningExecution
from include.skillreport.core.failure_kinds import RUN_LOST, kind_of
from include.skillreport.core.operation_catalog import RUN_SPECS
from include.skillreport.core.run_spec import RunSpec

_SQL = Statements(Path(__file__).parent)

# Another Airflow (a developer's, on the same database) may have a run that this one does not know. It may take this many time limits.
_LIMITS_OF_AN_UNKNOWN_RUN = 2


class RunState(StrEnum):
    """The state of a run in Airflow."""

    ALIVE = "alive"
    ENDED = "ended"
    UNKNOWN = "unknown"


def running_rows(platform: psycopg.Connection, execution_id: str) -> list[tuple[RunSpec, RunningExecution]]:
    """Every row with the status running, of every batch and operation, except the given execution."""
    return [
        (spec, execution)
        for spec in RUN_SPECS.values()
        for execution in run_log.running_executions(platform, spec.id)
        if execution.execution_id != execution_id
    ]


def orphan_reason(
    spec: RunSpec, execution: RunningExecution, state: RunState, *, now: datetime
) -> str | None:
    """Why the row is an orphan, or None. A run that is active in Airflow is never an orphan, regardless of its duration."""
    if state is RunState.ENDED:
        return "Airflow の実行が、ログを閉じずに終わっていました"
    if state is RunState.UNKNOWN and now - execution.started_at > _LIMITS_OF_AN_UNKNOWN_RUN * spec.time_limit:
        return f"Airflow にこの実行がなく、制限時間（{spec.time_limit}）の {_LIMITS_OF_AN_UNKNOWN_RUN} 倍を過ぎていました"
    return None


def close_orphan(
    platform: psycopg.Connection,
    spec: RunSpec,
    execution: RunningExecution,
    reason: str,
    *,
    in_digest: bool = True,
) -> bool:
    """Close the row as failed, and save a notice for the next digest. Returns True if the row was still running.

    ``in_digest`` is false if the user who triggered the run gets an alert instead. If this alert is lost, ``unreported_failures`` finds the
    run, because it has no notice.
    """
    with platform.transaction():
        if not run_log.close_orphan(platform, execution.execution_id, run_log.CLOSED_AS_ORPHAN + reason):
            return False
        if in_digest:
            _SQL.execute(
                platform,
                "notice_orphan",
                execution_id=execution.execution_id,
                detail=f"【孤立した実行】{spec.id} {spec.name}"
                f"（{execution.started_at.astimezone(JAPAN):%m-%d %H:%M} 開始、実行ID {execution.execution_id}）: "
                f"{reason}。失敗にしました。→ {kind_of(spec, RUN_LOST).remedy()}",
            )
    return True
