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
    import psycopg

    from skill_batch.airflow_private.metadata_database import DagRun
    from skill_batch.notifiers.channels import Channels
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

    try:
        channels = load_channels()
        with open_database(channels.database) as database:
            if database is None:
                # BATCH-018-03 finds the run within the hour.
                return
            reported = _close_rows(database, run, specs)
            if not reported and not is_attempt_reported(database, run.dag_id, run.run_id, run.attempt):
                reported = _ended_rows(database, run, specs)
        for spec, execution_id, is_done in reported:
            _send(run, spec, execution_id, channels, is_done=is_done)
    except Exception:
        log.exception("The run %s of %s could not be reported as marked as failed", run.run_id, run.dag_id)


def _close_rows(
    database: psycopg.Connection, run: MarkedRun, specs: tuple[RunSpec, ...]
) -> list[tuple[RunSpec, str, bool]]:
    from include.skillreport.core.execution.run_log import close_orphan, running_executions

    return [
        (spec, execution.execution_id, False)
        for spec in specs
        for execution in running_executions(database, spec.id)
        if (execution.dag_id, execution.run_id) == (run.dag_id, run.run_id)
        and close_orphan(database, execution.execution_id, _REASON)
    ]


def _ended_rows(
    database: psycopg.Connection, run: MarkedRun, specs: tuple[RunSpec, ...]
) -> list[tuple[RunSpec, str, bool]]:
    """The batches to report of a run without running rows: spec, execution id, and True if the work is done.

    If some batches are unfinished, returns only these. A run of one batch may have no rows. For a family's run, only the rows show
    which batches began.
    """
    from skill_batch.notifiers.recorded_result import rows_of_run

    rows = rows_of_run(database, run.dag_id, run.run_id)
    if not rows and len(specs) == 1:
        return [(specs[0], run.run_id, False)]
    spec_of = {spec.id: spec for spec in specs}
    ended = [(spec_of[batch_id], execution_id, is_done) for batch_id, execution_id, is_done in rows]
    return [each for each in ended if not each[2]] or ended


def _send(run: MarkedRun, spec: RunSpec, execution_id: str, channels: Channels, *, is_done: bool) -> None:
    from skill_batch.batch_flow import failure_alert
    from skill_batch.notifiers.alert_outbox import send_alert
    from skill_batch.notifiers.failure_alert import failure_key
    from skill_batch.notifiers.run_links import run_links
    from include.skillreport.core.failure_kinds import RUN_LOST
    from include.skillreport.core.run_spec import Severity

    alert = failure_alert(spec, severity=Severity.MEDIUM).of_failures(
        _team(run, spec),
        (f"エラー: {_REASON}", *([_DONE] if is_done else []), _WHO),
        [] if is_done else [(RUN_LOST, "")],
        run_links(run.dag_id, run.run_id),
        execution_id,
    )
    log.warning("%s", alert.as_text())
    send_alert(alert, failure_key(run.dag_id, run.run_id, spec.id, run.attempt), channels)


def _team(run: MarkedRun, spec: RunSpec) -> TriggeringUser | None:
    from skill_batch.notifiers.triggering_user import triggering_user
    from include.skillreport.core.run_spec import OperationSpec

    return triggering_user(
        run.started_by, is_dry_run=run.is_dry_run, is_operation=isinstance(spec, OperationSpec)
    )
