"""The rows of a shard in the log: which tenants a try works on, and why its task failed. All statements run as ``batch_platform``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.errors import code_of, reason_of
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.openings import Opened, TaskKey, record_opening
from include.skillreport.core.execution.run_log import RecordsDeletedError, mark_reopened
from include.skillreport.core.failure_kinds import INTERRUPTED

_SQL = Statements(Path(__file__).parent)


class Scope(StrEnum):
    """Which tenants of its shard a try works on. INTERRUPTED: those whose work was killed, not those that failed by themselves."""

    ALL = "all"
    UNFINISHED = "unfinished"
    INTERRUPTED = "interrupted"


def record_opening_of(platform: psycopg.Connection, run: Run, task: TaskKey) -> Opened:
    """Record this try of a task of an open run, and say how it began. ``run.attempt`` counts the clears.

    :raises RecordsDeletedError: the log no longer has the run.
    """
    row = _SQL.execute(platform, "run_of_execution", execution_id=run.execution_id).fetchone()
    if row is None:
        raise RecordsDeletedError
    dag_id, run_id = row
    return record_opening(platform, dag_id, run_id, run.attempt, task)


def begin_shard(platform: psycopg.Connection, run: Run, shard: int, scope: Scope = Scope.ALL) -> list[str]:
    """Reset the outcomes of a shard's tenants in ``scope`` to pending; returns their ids, in order.

    :raises RecordsDeletedError: the run no longer has such a shard.
    """
    with platform.transaction():
        mark_reopened(platform, run)
        rows = _SQL.execute(
            platform,
            "begin_shard",
            execution_id=run.execution_id,
            shard=shard,
            scope=scope,
            interrupted=list(INTERRUPTED),
        ).fetchall()
    if not rows:
        raise RecordsDeletedError
    return [tenant_id for tenant_id, is_in_scope in rows if is_in_scope]


def fail_shard(platform: psycopg.Connection, run: Run, shard: int, error: BaseException) -> None:
    """Record why a shard's task failed, for its tenants without a result."""
    _SQL.execute(
        platform,
        "fail_shard",
        execution_id=run.execution_id,
        shard=shard,
        error_code=code_of(error),
        error_message=reason_of(error),
    )
