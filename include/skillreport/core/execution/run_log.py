"""The execution log: open a run, close it with its tenants' outcomes, and close orphaned rows.

All statements run as ``batch_platform``. Source: the batch list, sections 5.3 (``BatchMonitor``) and 6.3 (performance).
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from include.skillreport.core.database import Statements
from include.skillreport.core.errors import BatchError, SchemaError, code_of, reason_of
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.reconciliation import Reconciliation, load_reconciliation
from include.skillreport.core.execution.resource_usage import ResourceUsage
from include.skillreport.core.execution.rows_scanned import load_scans
from include.skillreport.core.execution.run_remarks import RunProblem, RunRemarks, load_remarks
from include.skillreport.core.execution.settings import IdentitySettings
from include.skillreport.core.execution.sharding import PastRuns, Shard
from include.skillreport.core.failure_kinds import LOSSES, NO_RESULT, RUN_LOST
from include.skillreport.core.operation_catalog import (
    APPROVE_OFFBOARDING,
    OFFBOARD_TENANT,
    RUN_SPECS,
)
from include.skillreport.core.run_spec import RunSpec
from include.skillreport.core.version import VERSION

_SQL = Statements(Path(__file__).parent)

_NOT_PER_TENANT = frozenset(spec.id for spec in RUN_SPECS.values() if not spec.per_tenant)

# For a task that ended without a result or an exception.
_NO_RESULT = f"タスクが結果を残さずに止まりました（{LOSSES}）。テナントのタスクのログを確認してください"

# In a restored database, they delete tenants again that were deleted after the backup.
_DELETE_AGAIN = (OFFBOARD_TENANT, APPROVE_OFFBOARDING)

_LISTED = 10

# The result of a run lists this many failures, with this many characters of each reason.
_LISTED_RESULTS = 100
_LONGEST_ERROR = 1_000

CLOSED_AS_ORPHAN = "孤立した実行として失敗にしました: "


@dataclass(frozen=True)
class RunningExecution:
    """A row of the execution log with status ``running``. ``elapsed`` and ``started_at`` use the database's clock.

    ``attempt`` counts the clears of the run. ``triggered_by`` is the user of a manual run.
    """

    execution_id: str
    dag_id: str
    run_id: str
    started_at: datetime
    elapsed: timedelta
    attempt: int = 0
    dry_run: bool = False
    triggered_by: str | None = None


@dataclass(frozen=True)
class FailedTenant:
    """A tenant that did not succeed, for operators. ``error_codes`` are the codes of its parts."""

    code: str
    name: str
    reason: str
    error_codes: Sequence[str] = ()


@dataclass(frozen=True)
class RunResult:
    """The result of a run: the customer's ``BatchResult`` and the failed tenants.

    ``error`` (with ``error_code``) is a failure outside the tenants' work. ``problems`` make a run partial although its tenants succeeded:
    too many host rows belong to no tenant, or a step of the entire run failed. ``leased_messages`` counts messages that another sender has
    claimed, which is not a failure.
    """

    execution_id: str
    batch_id: str
    business_date: date
    status: Literal["completed", "partial", "failed"]
    total_tenants: int
    success_count: int
    error_count: int
    execution_seconds: Decimal
    records: int
    failed_tenants: list[FailedTenant] = field(default_factory=list)
    error: str | None = None
    error_code: str = ""
    problems: tuple[RunProblem, ...] = ()
    leased_messages: int = 0

    def sentence(self) -> str:
        """One line for the log, the alert and the failed task."""
        unit = "件" if self.batch_id in _NOT_PER_TENANT else "テナント"
        text = (
            f"{self.batch_id} {self.business_date}: {self.total_tenants} {unit}中 {self.success_count} 件成功"
        )
        text = "。".join((text, *(each.text for each in self.problems)))
        if self.leased_messages:
            text = f"{text}。通知 {self.leased_messages} 件は別の送信者が確保したまま（テナントの注記を参照）"
        if not self.failed_tenants:
            return text
        listed = "、".join(f"{tenant.code}: {tenant.reason}" for tenant in self.failed_tenants[:_LISTED])
        more = len(self.failed_tenants) - _LISTED
        return f"{text}、{self.error_count} 件失敗（{listed}" + (f"、ほか {more} 件）" if more > 0 else "）")


class EarlierStepFailedError(BatchError):
    """The run failed because ``step``, which runs before the mapped task, failed.

    ``reported_code`` is the code that the step has already reported in an alert; None for a killed process.
    """

    def __init__(self, step: str, reported_code: str | None) -> None:
        super().__init__(
            f"前段の {step} が失敗しました。理由はそのログと通知にあります。"
            if reported_code
            else f"前段の {step} が、理由を通知せずに終わりました（{LOSSES}）。{step} のログを確認してください。"
        )
        self.step = step
        self.is_reported = bool(reported_code)
        self.code = reported_code or NO_RESULT


@dataclass(frozen=True)
class MappedInstance:
    """An instance of the mapped task: the task id with its group, and the instance's index and label in Airflow's UI.

    ``error`` is the last error of an instance that may have been unable to record it, for its ``shard``. None: the process was killed.
    """

    task_id: str
    map_index: int
    label: str
    shard: int = -1
    error: BatchError | None = None

    def __str__(self) -> str:
        return f"{self.task_id} [{self.label or self.map_index}]"


class InstancesFailedError(BatchError):
    """Instances of the mapped task failed, but the outcomes show success: they were recorded before the failure or by an earlier attempt.

    The alert reads ``instances`` and ``step``, which names them.
    """

    def __init__(self, instances: Sequence[MappedInstance]) -> None:
        self.instances = tuple(sorted(instances, key=lambda each: each.map_index))
        listed = "、".join(map(str, self.instances[:_LISTED]))
        more = len(self.instances) - _LISTED
        # The text names the instances to clear.
        self.step = f"{listed} ほか {more} 件" if more > 0 else listed
        last = next((each.error for each in self.instances if each.error), None)
        self.code = last.code if last else ""
        super().__init__(
            f"{self.step} が失敗しました。テナントの結果は成功です（記録した後に失敗したか、前の試行の結果です）。"
            + (f"理由: {last}" if last else "理由はこのインスタンスのログにあります")
        )


class RecordsDeletedError(BatchError):
    """The log has no rows of the run, or no tenants for a mapped instance, because they were deleted."""

    def __init__(self) -> None:
        super().__init__("この実行のテナントの記録がありません（記録が整理されています）。")


class RunFailedError(BatchError):
    """Not all tenants succeeded. The alert reads ``result``."""

    def __init__(self, result: RunResult) -> None:
        super().__init__(result.sentence())
        self.result = result


def running_executions(platform: psycopg.Connection, batch_id: str) -> list[RunningExecution]:
    """The batch's rows with status ``running``."""
    with platform.cursor(row_factory=class_row(RunningExecution)) as cursor:
        return _SQL.execute(cursor, "running_executions", batch_id=batch_id).fetchall()


def orphan_reason(
    execution: RunningExecution,
    *,
    reopened_by: tuple[str, str],
    is_alive: Callable[[str, str], bool],
    time_limit: timedelta,
) -> str | None:
    """The reason why this running row is orphaned, or None if its run may still be working.

    ``reopened_by`` is the DAG id and run id of the run that opens now. ``is_alive`` asks Airflow if a run has not ended. A killed ``airflow
    dags test`` stays "running" in Airflow, so a row counts as orphaned after twice its time limit.
    """
    if (execution.dag_id, execution.run_id) == reopened_by:
        return "終わる前に同じ実行がやり直されました"
    if not is_alive(execution.dag_id, execution.run_id):
        return "Airflow の実行が、ログを閉じずに終わっていました"
    if execution.elapsed > 2 * time_limit:
        return f"制限時間（{time_limit}）の 2 倍を超えて実行中のままでした"
    return None


def close_orphan(platform: psycopg.Connection, execution_id: str, sentence: str) -> bool:
    """Close a running row as failed with this sentence for operators; returns True if it was still running."""
    closed = _SQL.execute(
        platform,
        "close_orphan",
        execution_id=execution_id,
        error_message=sentence,
        code=RUN_LOST,
    )
    return closed.rowcount == 1


def past_runs(
    platform: psycopg.Connection, spec: RunSpec, dag_id: str, run_id: str, tenants: int
) -> PastRuns:
    """An estimate for a run with this many tenants, from earlier runs of the batch with at least half as many."""
    about = {"batch_id": spec.id, "least_tenants": tenants // 2}
    records = _SQL.execute(platform, "last_records", **about).fetchall()
    seconds_per_tenant, shards = _SQL.row(platform, "past_work", **about)
    assigned = _SQL.execute(platform, "assigned_shards", batch_id=spec.id, dag_id=dag_id, run_id=run_id)
    return PastRuns(
        dict(records),
        None if seconds_per_tenant is None else seconds_per_tenant * tenants,
        shards,
        {(tenant_id, part): shard for tenant_id, part, shard in assigned},
    )


def require_deletions_repeated(platform: psycopg.Connection, spec: RunSpec) -> None:
    """Check that a restored database has no tenants deleted after its backup. :raises SchemaError: it has some."""
    if spec in _DELETE_AGAIN:
        return
    if tenants := _SQL.column(platform, "deletions_to_repeat"):
        raise SchemaError(deleted_sentence(tenants))


def deleted_sentence(tenant_ids: Sequence[str]) -> str:
    """The sentence for operators about deleted tenants in a restored database."""
    return (
        f"このデータベースには、退会して削除済みのテナント {'、'.join(tenant_ids)} があります。"
        "DAG offboard_tenant で削除をやり直すまで、このデータベースではバッチは動きません"
        "（記録が誤りなら、同じ DAG の「退会の記録の取り消し」を行ってください）。"
    )


def open_execution(
    platform: psycopg.Connection,
    spec: RunSpec,
    *,
    dag_id: str,
    run_id: str,
    business_date: date,
    run_date: date,
    dry_run: bool,
    parameters: Mapping[str, Any],
    shards: Mapping[Shard, Sequence[str]],
    options: Mapping[str, Any] | None = None,
    run_at: datetime | None = None,
    attempt: int = 0,
    triggered_by: str | None = None,
) -> Run:
    """Write the running row, and one pending outcome per tenant id of each shard."""
    execution_id = f"{spec.id}_{business_date:%Y%m%d}_{secrets.token_hex(4)}"
    expected = [(tenant_id, shard) for shard, tenant_ids in shards.items() for tenant_id in tenant_ids]
    with platform.transaction():
        _SQL.execute(
            platform,
            "open_execution",
            execution_id=execution_id,
            batch_id=spec.id,
            dag_id=dag_id,
            run_id=run_id,
            business_date=business_date,
            dry_run=dry_run,
            parameters=Jsonb(dict(parameters)),
            execution_host=socket.gethostname(),
            attempt=attempt,
            triggered_by=triggered_by,
            version=VERSION,
            total_tenants=len({tenant_id for tenant_id, _ in expected}),
        )
        _SQL.execute(
            platform,
            "expect_tenants",
            execution_id=execution_id,
            batch_id=spec.id,
            dag_id=dag_id,
            run_id=run_id,
            tenant_ids=[tenant_id for tenant_id, _ in expected],
            parts=[shard.part for _, shard in expected],
            shards=[shard.number for _, shard in expected],
        )
    return Run(
        execution_id,
        business_date,
        run_date,
        dry_run,
        options or {},
        run_at=run_at,
        triggered_by=triggered_by,
        attempt=attempt,
    )


def record_task_metric(
    platform: psycopg.Connection, run: Run, task_id: str, map_index: int, usage: ResourceUsage
) -> None:
    """Record the time and memory of a task process; a retry replaces the figures."""
    _SQL.execute(
        platform,
        "record_task_metric",
        execution_id=run.execution_id,
        task_id=task_id,
        map_index=map_index,
        wall_seconds=round(usage.wall_seconds, 3),
        cpu_seconds=round(usage.cpu_seconds, 3),
        peak_memory_bytes=usage.peak_memory_bytes,
    )


def mark_reopened(platform: psycopg.Connection, run: Run) -> None:
    """Mark a closed run that a cleared task works on again. The row keeps the earlier result until it is closed again."""
    _SQL.execute(platform, "mark_reopened", execution_id=run.execution_id)


def tenants_of_run(platform: psycopg.Connection, run: Run) -> list[str]:
    """The ids of the run's tenants, in order."""
    return _SQL.column(platform, "tenants_of_run", execution_id=run.execution_id)


def close_execution(
    platform: psycopg.Connection, run: Run, error: Exception | None = None, *, attempt: int = 0
) -> RunResult:
    """Count the outcomes, close the log row and write the run's performance metrics.

    ``error`` is the failure of a step before the mapped task. A pending tenant counts as failed: it was not processed, or its task was
    killed. After an instance was cleared, the run is closed again with the current outcomes; ``attempt`` counts this.
    """
    reason, error_code = (reason_of(error), code_of(error)) if error else (None, "")
    with platform.transaction():
        if error is None:
            _SQL.execute(
                platform,
                "fail_unfinished",
                execution_id=run.execution_id,
                error_code=NO_RESULT,
                error_message=_NO_RESULT,
            )
        _SQL.execute(platform, "note_differing_statuses", execution_id=run.execution_id)
        reconciliation = load_reconciliation(platform, run.execution_id)
        scans = load_scans(platform, run.execution_id)
        remarks = load_remarks(platform, run.execution_id)
        problems = _problems(reconciliation, remarks)
        tallies = reconciliation.as_json() if reconciliation else {}
        further = {"reconciliation": tallies, "scans": scans, "steps": remarks.by_step}
        codes = [*filter(None, [error_code]), *(each.code for each in problems)]
        row = _SQL.execute(
            platform,
            "close_execution",
            execution_id=run.execution_id,
            error=reason,
            attempt=attempt,
            not_per_tenant=list(_NOT_PER_TENANT),
            problem="。".join(each.text for each in problems) or None,
            most_results=_LISTED_RESULTS,
            longest_error=_LONGEST_ERROR,
            further=Jsonb({name: found for name, found in further.items() if found} | {"codes": codes}),
        ).fetchone()
        if row is None:
            raise RecordsDeletedError
        batch_id, status, total, success, errors, leased_messages = row
        failed = failed_tenants(platform, run.execution_id)
        performance = _SQL.row(platform, "record_performance", execution_id=run.execution_id)
    return RunResult(
        execution_id=run.execution_id,
        batch_id=batch_id,
        business_date=run.business_date,
        status=status,
        total_tenants=total,
        success_count=success,
        error_count=errors,
        execution_seconds=performance[0],
        records=int(performance[1]),
        failed_tenants=failed,
        error=reason,
        error_code=error_code,
        problems=problems,
        leased_messages=leased_messages,
    )


def problems_of(platform: psycopg.Connection, execution_id: str) -> tuple[RunProblem, ...]:
    """The problems of the entire run, by the current settings."""
    return _problems(load_reconciliation(platform, execution_id), load_remarks(platform, execution_id))


def _problems(reconciliation: Reconciliation, remarks: RunRemarks) -> tuple[RunProblem, ...]:
    is_beyond = reconciliation.is_beyond(IdentitySettings.load())
    return (*([reconciliation.problem()] if is_beyond else []), *remarks.problems)


def failed_tenants(platform: psycopg.Connection, execution_id: str) -> list[FailedTenant]:
    """The tenants that did not succeed in a run, with the reasons."""
    rows = _SQL.execute(platform, "failed_tenants", execution_id=execution_id)
    return [FailedTenant(*row) for row in rows]
