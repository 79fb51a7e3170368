"""Rows of the execution log that still say running although nothing runs any more, of all batches.

A batch closes its own when it opens its next run. A monthly one, or one whose DAG is paused, would leave them for weeks; so they are
looked for every hour, and the operators told. What Airflow says of a run comes in from outside.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path

import psycopg

from include.catalog import BATCHES, BatchSpec
from include.database import read_sql
from include.execution import run_log
from include.execution.business_date import JAPAN
from include.execution.run_log import RunningExecution

_HERE = Path(__file__).parent

# Another Airflow (a developer's, on the same database) may have a run that ours does not know; so long it may take.
_LIMITS_OF_AN_UNKNOWN_RUN = 2


class RunState(StrEnum):
    """What Airflow says of a run."""

    ALIVE = "alive"
    ENDED = "ended"
    UNKNOWN = "unknown"


def running_rows(platform: psycopg.Connection, execution_id: str) -> list[tuple[BatchSpec, RunningExecution]]:
    """Every row that says running, of every batch, but for the execution that asks."""
    return [
        (spec, execution)
        for spec in BATCHES
        for execution in run_log.running_executions(platform, spec.id)
        if execution.execution_id != execution_id
    ]


def orphan_reason(
    spec: BatchSpec, execution: RunningExecution, state: RunState, *, now: datetime
) -> str | None:
    """Why the row belongs to nobody any more, or None. A run that Airflow has is never an orphan, however long it takes."""
    if state is RunState.ENDED:
        return "Airflow の実行が、ログを閉じずに終わっていました"
    if state is RunState.UNKNOWN and now - execution.started_at > _LIMITS_OF_AN_UNKNOWN_RUN * spec.time_limit:
        return f"Airflow にこの実行がなく、制限時間（{spec.time_limit}）の {_LIMITS_OF_AN_UNKNOWN_RUN} 倍を過ぎていました"
    return None


def close_orphan(
    platform: psycopg.Connection, spec: BatchSpec, execution: RunningExecution, reason: str
) -> bool:
    """Close the row as failed, and leave a notice for the next digest; returns whether it was still running."""
    with platform.transaction():
        if not run_log.close_orphan(platform, execution.execution_id, reason):
            return False
        platform.execute(
            read_sql(_HERE, "notice_orphan"),
            {
                "execution_id": execution.execution_id,
                "detail": f"【孤立した実行】{spec.id} {spec.name}"
                f"（{execution.started_at.astimezone(JAPAN):%m-%d %H:%M} 開始、実行ID {execution.execution_id}）: "
                f"{reason}。失敗にしました。→ 処理は途中の可能性があります。{execution.dag_id} を Trigger でやり直してください",
            },
        )
    return True
