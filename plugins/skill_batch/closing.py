"""The messages at the end of a run: its digest, a performance alert, its result, and waiting alerts."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from skill_batch.metrics import record_metrics
from skill_batch.notifiers.alert import Alert
from skill_batch.notifiers.alert_outbox import send_alert, send_result, send_waiting_alerts
from skill_batch.notifiers.approval_links import approval_links, approval_of, approval_problem
from skill_batch.notifiers.channels import load_channels
from skill_batch.notifiers.deadline_alert import slow_alert
from skill_batch.notifiers.run_links import board_url, run_links, run_url
from skill_batch.notifiers.run_report import RunReport
from skill_batch.performance import load_history, slowness

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol as RuntimeTaskInstance

    from skill_batch.performance import Slowness
    from include.skillreport.core.execution.digest import Digest
    from include.skillreport.core.execution.run_log import RunResult
    from include.skillreport.core.run_spec import RunSpec

log = logging.getLogger(__name__)


def report_digest(digest: Digest, result: RunResult, ti: RuntimeTaskInstance) -> bool:
    """Send the batch's digest. Returns True if it was sent or queued."""
    title, *rest = digest.lines
    # A cleared run that closes with the same digest does not send it again.
    text_hash = hashlib.sha256("\n".join(digest.lines).encode()).hexdigest()[:16]
    asked = approval_of(ti)
    alert = Alert(
        title,
        (*rest, *filter(None, [approval_problem(asked)])),
        links=run_links(ti.dag_id, ti.run_id) + approval_links(asked),
        severity="CRITICAL" if digest.is_critical else "MEDIUM",
    )
    return send_alert(alert, f"digest:{result.execution_id}:{text_hash}", load_channels())


def alert_operators(spec: RunSpec, result: RunResult, ti: RuntimeTaskInstance, attempt: int) -> None:
    """Send the performance alert, the result and the waiting alerts, and record the run's metrics.

    The execution log is already closed. The task's callback sends the failure alert. ``attempt`` is the number of clears of the run.
    """
    slow = _slowness(spec, result, ti.run_id)
    channels = load_channels()
    if slow:
        alert = slow_alert(
            spec.id, spec.name, result.execution_id, slow, run_links(ti.dag_id, ti.run_id), has_ended=True
        )
        log.warning("%s", alert.as_text())
        # The same key as the deadline's alert, which may have been sent during the run.
        send_alert(alert, f"slow:{ti.dag_id}:{ti.run_id}", channels)
    send_result(_run_report(spec, result, ti, attempt), channels)
    send_waiting_alerts(channels)
    record_metrics(result)


def _run_report(spec: RunSpec, result: RunResult, ti: RuntimeTaskInstance, attempt: int) -> RunReport:
    return RunReport(
        execution_id=result.execution_id,
        batch_id=result.batch_id,
        batch_name=spec.name,
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        attempt=attempt,
        status=result.status,
        business_date=result.business_date.isoformat(),
        total_tenants=result.total_tenants,
        success_count=result.success_count,
        error_count=result.error_count,
        records=result.records,
        seconds=float(result.execution_seconds),
        closed_at=datetime.now(UTC).isoformat(),
        link=run_url(ti.dag_id, ti.run_id),
        board_link=board_url(ti.dag_id, ti.run_id),
    )


def _slowness(spec: RunSpec, result: RunResult, run_id: str) -> Slowness | None:
    """The run's slowness. None if the history cannot be read, because an alert must not fail a run."""
    import psycopg

    from skill_batch.hooks.tenant_db import PlatformDbHook
    from include.skillreport.core.errors import DatabaseUnavailableError
    from include.skillreport.core.run_spec import OperationSpec

    # Operations do different work each time, so they have no average duration.
    if result.status != "completed" or isinstance(spec, OperationSpec):
        return None
    try:
        with PlatformDbHook(statement_timeout=spec.time_limit).connect() as platform:
            return slowness(result.execution_seconds, load_history(platform, spec.id, run_id))
    except (psycopg.Error, DatabaseUnavailableError) as error:
        log.warning("The duration cannot be compared: %s", error)
        return None
