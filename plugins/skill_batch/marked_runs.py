"""The listener for a run that a user marks as failed: closes its rows and sends an alert to the user's team.

Airflow runs no callback then. It calls the listener in the API server, within the user's request, and for other failed runs in the
scheduler. The alert has the key of the failure alert, so a run is reported once.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING

from skill_batch.airflow_private.listeners import hookimpl, is_set_by_user

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import psycopg

    from skill_batch.airflow_private.metadata_database import DagRun
    from skill_batch.notifiers.channels import Channels
    from skill_batch.notifiers.recorded_result import RecordedRow
    from skill_batch.notifiers.triggering_user import TriggeringUser
    from include.skillreport.core.run_spec import RunSpec

log = logging.getLogger(__name__)

_REASON = "ユーザーがこの実行を失敗にしました（画面または API）"
_WHO = "失敗にした人は、Airflow の監査ログ（Audit Log）で分かります。"
_DONE = "記録: 処理は終わっています。"


@dataclass(frozen=True)
class MarkedRun:
    """The known data of the run. ``attempt`` is its number of clears, ``started_by`` the user who triggered it."""

    dag_id: str
    run_id: str
    attempt: int
    started_by: str | None
    is_dry_run: bool


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:
    """Report the run if a user marked it. Never raises, and does not make the user wait."""
    if not is_set_by_user(msg):
        return
    from skill_batch.notifiers.triggering_user import is_dry_run
    from include.skillreport.core.operation_catalog import specs_by_dag

    specs = specs_by_dag().get(dag_run.dag_id)
    if not specs:
        return
    run = MarkedRun(
        dag_run.dag_id,
        dag_run.run_id,
        dag_run.clear_number or 0,
        dag_run.triggering_user_name,
        is_dry_run(dag_run.conf),
    )
    Thread(target=_report, args=(run, specs), name="marked-run", daemon=True).start()


def _report(run: MarkedRun, specs: tuple[RunSpec, ...]) -> None:
    from skill_batch.notifiers.alert_outbox import is_attempt_reported, open_database
    from skill_batch.notifiers.channels import load_channels
    from skill_batch.notifiers.recorded_result import rows_of_run

    try:
        channels = load_channels()
        with open_database(channels.database) as database:
            if database is None:
                # BATCH-018-03 finds the run within the hour.
                return
            closed = _close_rows(database, run, specs)
            if not closed and is_attempt_reported(database, run.dag_id, run.run_id, run.attempt):
                return
            rows = rows_of_run(database, run.dag_id, run.run_id)
        # A run of one batch may have no rows. For a family's run, only the rows show which batches began.
        if not rows and len(specs) == 1:
            _send(run, specs[0], None, channels)
        for row in _to_report(rows, closed):
            _send(run, next(spec for spec in specs if spec.id == row.batch_id), row, channels)
    except Exception:
        log.exception("The run %s of %s could not be reported as marked as failed", run.run_id, run.dag_id)


def _close_rows(database: psycopg.Connection, run: MarkedRun, specs: tuple[RunSpec, ...]) -> set[str]:
    """Close the run's running rows. Returns the ids of their batches."""
    from include.skillreport.core.execution.run_log import close_orphan, running_executions

    return {
        spec.id
        for spec in specs
        for execution in running_executions(database, spec.id)
        if (execution.dag_id, execution.run_id) == (run.dag_id, run.run_id)
        and close_orphan(database, execution.execution_id, _REASON)
    }


def _to_report(rows: Sequence[RecordedRow], closed: Collection[str]) -> Sequence[RecordedRow]:
    """The rows of the batches ``closed`` here, or else of the unfinished ones, or else all."""
    of_closed = [row for row in rows if row.batch_id in closed]
    return of_closed or [row for row in rows if not row.is_done] or rows


def _send(run: MarkedRun, spec: RunSpec, row: RecordedRow | None, channels: Channels) -> None:
    """Send the alert about a batch of the run. ``row`` is None if it has not begun."""
    from skill_batch.batch_flow import failure_alert
    from skill_batch.notifiers.alert_outbox import send_alert
    from skill_batch.notifiers.failure_alert import failure_key
    from skill_batch.notifiers.run_links import run_links
    from include.skillreport.core.failure_kinds import RUN_LOST
    from include.skillreport.core.run_spec import Severity

    is_done = row is not None and row.is_done
    lines = (
        f"エラー: {_REASON}",
        *([_DONE] if is_done else []),
        _WHO,
        *([f"業務日: {row.business_date}"] if row else []),
    )
    alert = failure_alert(spec, severity=Severity.MEDIUM).of_failures(
        _team(run, spec),
        lines,
        [] if is_done else [(RUN_LOST, "")],
        run_links(run.dag_id, run.run_id),
        row.execution_id if row else run.run_id,
    )
    log.warning("%s", alert.as_text())
    send_alert(alert, failure_key(run.dag_id, run.run_id, spec.id, run.attempt), channels)


def _team(run: MarkedRun, spec: RunSpec) -> TriggeringUser | None:
    from skill_batch.notifiers.triggering_user import triggering_user
    from include.skillreport.core.run_spec import OperationSpec

    return triggering_user(
        run.started_by, is_dry_run=run.is_dry_run, is_operation=isinstance(spec, OperationSpec)
    )
