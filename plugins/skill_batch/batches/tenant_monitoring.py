"""BATCH-018-03 in Airflow: the step that checks the runs of all batches.

It closes orphaned rows of the execution log. It sends alerts about runs over their time limit, schedules that fired without a run,
failures that a killed worker did not report, approval requests without a run, and items that wait for approval after a pause. The
deadline has usually sent the alert about a run over its limit, except for cleared runs. An alert about a dry run or an operation goes
to the user who triggered it, if known.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context, task

from skill_batch.airflow_private.tasks import last_run_before
from skill_batch.batch_flow import failure_alert, run_of, task_arguments
from skill_batch.lost_requests import lost_request_alerts
from skill_batch.notifiers.alert import JAPAN, Alert
from skill_batch.notifiers.alert_kinds import MISSED_RUN
from skill_batch.notifiers.alert_outbox import send_alert
from skill_batch.notifiers.channels import Channels, load_channels
from skill_batch.notifiers.deadline_alert import late_alert
from skill_batch.notifiers.failure_alert import failure_key
from skill_batch.notifiers.run_links import run_links
from skill_batch.notifiers.triggering_user import TriggeringUser, address_to, severity_for, triggering_user
from skill_batch.resumption_alerts import resumption_alerts
from skill_batch.waiting_alerts import waiting_alerts
from include.skillreport.core.catalog import TENANT_MONITORING
from include.skillreport.core.failure_kinds import LOSSES, RUN_LOST, RUN_UNCLOSED
from include.skillreport.core.run_plan import WATCH_RUNS
from include.skillreport.core.run_spec import OperationSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg
    from airflow.sdk.types import RuntimeTaskInstanceProtocol as RuntimeTaskInstance

    from include.skillreport.batches.tenant_monitoring.orphans import RunState
    from include.skillreport.batches.tenant_monitoring.unreported import UnclosedExecution, UnreportedFailure
    from include.skillreport.core.execution.batch import Run
    from include.skillreport.core.execution.run_log import RunningExecution
    from include.skillreport.core.execution.schedule import MissedStarts
    from include.skillreport.core.run_spec import RunSpec

log = logging.getLogger(__name__)

# An alert lists at most this many business dates; of more it names the first and the last.
_LISTED_DAYS = 7


def watch_runs(run: Any) -> Any:
    """Add the task that checks the runs of all batches, before the host's tables are read."""

    @task(
        **task_arguments(TENANT_MONITORING, WATCH_RUNS),
        on_failure_callback=failure_alert(TENANT_MONITORING),
    )
    def watch_runs(run: dict[str, Any]) -> None:
        _watch_runs(run, get_current_context()["ti"])

    return watch_runs(run)


def _watch_runs(run_xcom: dict[str, Any], ti: RuntimeTaskInstance) -> None:
    from skill_batch.hooks.tenant_db import PlatformDbHook

    run, now = run_of(run_xcom), datetime.now(UTC)
    alerts: list[tuple[str, Alert]] = []
    with PlatformDbHook(statement_timeout=TENANT_MONITORING.time_limit).connect() as platform:
        alerts += _running_alerts(platform, run, ti, now)
        alerts += _failure_alerts(platform, now)
        alerts += _unclosed_alerts(platform, ti, now)
        alerts += lost_request_alerts(platform, ti, now, dry_run=run.dry_run)
        alerts += resumption_alerts(platform, ti, now)
        alerts += waiting_alerts(platform, now)
    alerts += _not_started_alerts(ti, now)
    channels = Channels(None, None, None) if run.dry_run else load_channels()
    for key, alert in alerts:
        log.warning("%s", alert.as_text())
        if not run.dry_run:
            send_alert(alert, key, channels)


def _running_alerts(
    platform: psycopg.Connection, run: Run, ti: RuntimeTaskInstance, now: datetime
) -> list[tuple[str, Alert]]:
    """Close the orphaned rows. Returns the alerts about runs over their time limit, and alerts to the users of orphaned runs.

    The digest reports the other orphans.
    """
    from include.skillreport.batches.tenant_monitoring import orphans

    alerts = []
    for spec, execution in orphans.running_rows(platform, run.execution_id):
        state = _state_of(ti, execution.dag_id, execution.run_id)
        reason = orphans.orphan_reason(spec, execution, state, now=now)
        elapsed = now - execution.started_at
        user = _user_of(spec, execution)
        if reason is None:
            log.info("%s is running (%s)", execution.execution_id, state)
            if state is orphans.RunState.ALIVE and elapsed > spec.time_limit:
                alerts.append(_late_alert(spec, execution, elapsed))
        elif run.dry_run:
            log.info("%s would be closed (dry run): %s", execution.execution_id, reason)
        elif orphans.close_orphan(platform, spec, execution, reason, in_digest=user is None):
            log.warning("%s is closed as an orphan: %s", execution.execution_id, reason)
            if user is not None:
                alerts.append(_orphan_alert(spec, execution, reason))
    return alerts


def _failure_alerts(platform: psycopg.Connection, now: datetime) -> list[tuple[str, Alert]]:
    from include.skillreport.batches.tenant_monitoring.unreported import unreported_failures

    alerts = []
    for failure in unreported_failures(platform, now):
        user = _user_of(failure.spec, failure)
        alert = failure_alert(failure.spec).of_result(
            user,
            failure.result,
            run_links(failure.dag_id, failure.run_id),
            remark="アラートの前にワーカーが止まったため、見回り（BATCH-018-03）がお知らせします",
        )
        key = failure_key(failure.dag_id, failure.run_id, failure.spec.id, failure.attempt)
        alerts.append((key, alert))
    return alerts


def _unclosed_alerts(
    platform: psycopg.Connection, ti: RuntimeTaskInstance, now: datetime
) -> list[tuple[str, Alert]]:
    from include.skillreport.batches.tenant_monitoring.orphans import RunState
    from include.skillreport.batches.tenant_monitoring.unreported import unclosed_executions

    return [
        (
            f"unclosed:{execution.execution_id}:{execution.reopened_at.isoformat()}",
            _lost_run_alert(
                execution.spec,
                execution,
                f"消去（Clear）してやり直した実行が、結果をまとめる前に止まりました（{LOSSES}）",
                RUN_UNCLOSED,
            ),
        )
        for execution in unclosed_executions(platform, now)
        if _state_of(ti, execution.dag_id, execution.run_id) is RunState.ENDED
    ]


def _orphan_alert(spec: RunSpec, execution: RunningExecution, reason: str) -> tuple[str, Alert]:
    # The same key as the failure alert, which the DAG processor may have sent for a killed worker.
    key = failure_key(execution.dag_id, execution.run_id, spec.id, execution.attempt)
    return key, _lost_run_alert(spec, execution, f"{reason}。失敗にしました", RUN_LOST)


def _lost_run_alert(
    spec: RunSpec, execution: RunningExecution | UnclosedExecution, error: str, code: str
) -> Alert:
    return failure_alert(spec).of_failures(
        _user_of(spec, execution),
        (f"エラー: {error}",),
        [(code, "")],
        run_links(execution.dag_id, execution.run_id),
        execution.execution_id,
    )


def _late_alert(spec: RunSpec, execution: RunningExecution, elapsed: timedelta) -> tuple[str, Alert]:
    # The same key as the deadline's alert. A family DAG has one deadline, so its key has the batch id as well.
    key = f"late:{execution.dag_id}:{execution.run_id}"
    if execution.dag_id != spec.dag_id:
        key = f"{key}:{spec.id}"
    user = _user_of(spec, execution)
    alert = late_alert(
        spec.id,
        spec.name,
        severity_for(user, spec.run_severity.name),
        execution.execution_id,
        elapsed,
        spec.time_limit,
        run_links(execution.dag_id, execution.run_id),
    )
    return key, address_to(user, alert)


def _user_of(
    spec: RunSpec, execution: RunningExecution | UnreportedFailure | UnclosedExecution
) -> TriggeringUser | None:
    return triggering_user(
        execution.triggered_by, is_dry_run=execution.dry_run, is_operation=isinstance(spec, OperationSpec)
    )


class _AirflowRuns:
    """The batches' runs in Airflow (implements ``include.skillreport.core.execution.schedule.StartedRuns``)."""

    def __init__(self, ti: RuntimeTaskInstance) -> None:
        self._ti = ti

    def count(self, spec: RunSpec, firings: Sequence[datetime]) -> int:
        return self._ti.get_dr_count(dag_id=spec.dag_id, logical_dates=list(firings))

    def last_before(self, spec: RunSpec, moment: datetime) -> datetime | None:
        return last_run_before(spec.dag_id, moment)

    def is_paused(self, spec: RunSpec) -> bool:
        return self._ti.get_dag(spec.dag_id).is_paused


def _not_started_alerts(ti: RuntimeTaskInstance, now: datetime) -> list[tuple[str, Alert]]:
    """The alerts about schedules that fired without starting a run: the DAG is broken, or the scheduler was down.

    Paused DAGs get no alert of their own. The alerts about the others list them.
    """
    from include.skillreport.core.execution.schedule import missed_starts
    from include.skillreport.core.operation_catalog import SCHEDULED

    missed = missed_starts(SCHEDULED, now, _AirflowRuns(ti))
    paused = [each for each in missed if each.is_paused]
    for each in paused:
        log.warning("%s is paused: no run since %s", each.spec.dag_id, each.started_before)
    return [
        # Each gap is reported. If it grows, it is reported again once a day (Asia/Tokyo).
        (
            f"not-started:{each.spec.dag_id}:{each.newest_gap_at.isoformat()}:{each.fired_at[-1].date()}",
            not_started_alert(each, paused),
        )
        for each in missed
        if not each.is_paused
    ]


def not_started_alert(missed: MissedStarts, paused: Sequence[MissedStarts]) -> Alert:
    """The alert about one batch: the gap, and how to repair it. ``paused``: the batches whose DAGs are paused."""
    spec, fired_at = missed.spec, missed.fired_at
    times = _minute(fired_at[0])
    if len(fired_at) > 1:
        times = f"{times} から {_minute(fired_at[-1])} までの {len(fired_at)} 回"
    listed = "、".join(f"{each.spec.id}（{_minute(each.fired_at[0])} から）" for each in paused)
    return Alert(
        title=MISSED_RUN.title(spec.id, spec.name, f"{len(fired_at)} 回"),
        lines=(
            f"予定: {times}（日本時間）の実行がありません",
            f"その前に始まった予定: {_minute(missed.started_before)}",
            *([f"その後に始まった予定: {_minute(missed.started_after)}"] if missed.started_after else []),
            *([f"ほかに、一時停止中で始まっていないバッチ: {listed}"] if listed else []),
            f"重要度: {spec.run_severity.name}",
        ),
        actions=(*([] if missed.started_after else [MISSED_RUN.action]), f"対処: {_repair(missed)}"),
        severity=spec.run_severity.name,
    )


def _repair(missed: MissedStarts) -> str:
    """How an operator makes up for the missing runs. A batch of the run date needs only the newest run.

    Airflow's backfill makes up for several days.
    """
    from include.skillreport.core.execution.business_date import business_date_of
    from include.skillreport.core.run_spec import WorksOn

    spec = missed.spec
    if spec.works_on is WorksOn.RUN_DATE:
        if missed.started_after:
            return "予定はもう動いています。止まっていた間の実行をやり直す必要はありません。"
        return f"{spec.dag_id} を 1 回 Trigger してください（業務日は空欄）。"
    if spec.backfills and len(missed.fired_at) > 1:
        first, last = _minute(missed.fired_at[0]), _minute(missed.fired_at[-1])
        return f"{spec.dag_id} を、予定 {first} から {last} まで、過去分再実行（Backfill）してください（「停止後の復旧」）。"
    days = sorted({business_date_of(each, spec.works_on) for each in missed.fired_at})
    listed = "、".join(day.isoformat() for day in days[:_LISTED_DAYS])
    if len(days) > _LISTED_DAYS:
        # Some days in this range may have a run.
        listed = f"{days[0]} から {days[-1]} までのうち実行のない {len(days)} 日"
    in_order = "古い業務日から順に、1 つずつ " if len(days) > 1 else ""
    return f"{spec.dag_id} を業務日 {listed} で、{in_order}Trigger してください。"


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(JAPAN):%Y-%m-%d %H:%M}"


def _state_of(ti: RuntimeTaskInstance, dag_id: str, run_id: str) -> RunState:
    from include.skillreport.batches.tenant_monitoring.orphans import RunState

    # Counts runs, because the request for a state fails in the same way for a missing run and an unreachable server.
    if ti.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=["queued", "running"]):
        return RunState.ALIVE
    return RunState.ENDED if ti.get_dr_count(dag_id=dag_id, run_ids=[run_id]) else RunState.UNKNOWN
