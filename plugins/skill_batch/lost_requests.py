"""The hourly search for approval requests whose run can no longer take an answer, because it is lost or has ended."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from skill_batch.notifiers.alert import JAPAN, Alert
from skill_batch.notifiers.alert_kinds import LOST_REQUEST
from skill_batch.notifiers.approval_links import ANSWER_TASK, approval_links, approval_problem, is_dag_paused
from skill_batch.resumption_alerts import alert_day

if TYPE_CHECKING:
    import psycopg
    from airflow.sdk.types import RuntimeTaskInstanceProtocol as RuntimeTaskInstance

    from include.skillreport.approvals.requests import ApprovalRequest

log = logging.getLogger(__name__)

# A batch records its request before it starts the run.
_GRACE = timedelta(minutes=10)

_GONE = "承認依頼の実行 {run} が Airflow にありません（airflow db clean や手での削除）"
_ENDED = (
    "承認依頼の実行 {run} が、答えを記録せずに終わっています（失敗とマークした、タスクが失敗した、など）。"
    "ここで答えても、何も変わりません"
)


def lost_request_alerts(
    platform: psycopg.Connection, ti: RuntimeTaskInstance, now: datetime, *, dry_run: bool
) -> list[tuple[str, Alert]]:
    """Restart the run of each open request whose run is lost. Returns the keys and alerts about these requests.

    Requests whose run has ended get a daily alert, and a user restarts them. If nothing of such a request is held any more, it is
    closed, because a new run would not find it. ``now`` is aware.
    """
    from skill_batch.approvals import start_run
    from include.skillreport.approvals.requests import is_outdated, move_to_run, open_requests, withdraw

    alerts = []
    for request in open_requests(platform, now - _GRACE):
        dag_id, run_ids = request.dag_id, [request.run_id]
        # `airflow db clean` keeps the newest run of a DAG, but not its tasks.
        tasks = ti.get_task_states(dag_id=dag_id, task_ids=[ANSWER_TASK], run_ids=run_ids)
        if not tasks.get(request.run_id):
            log.warning("The run %s of %s is gone", request.run_id, request.dag_id)
            moved = replace(request, run_id=_next_run_id(request, now))
            problem = None
            if not dry_run:
                move_to_run(platform, moved)
                problem = start_run(moved)
            key = f"request:{request.request_id}:{alert_day(now) if problem else moved.run_id}"
            reason = _GONE.format(run=request.run_id) + ("" if problem else "。もう一度出しました")
            alerts.append((key, _alert(ti, moved, reason, problem)))
        elif not ti.get_dr_count(dag_id=dag_id, run_ids=run_ids, states=["queued", "running"]):
            if is_outdated(platform, request):
                log.warning(
                    "The run %s has ended, and nothing of its request is held any more", request.run_id
                )
                if not dry_run:
                    withdraw(platform, request, "outdated")
                continue
            key = f"request:{request.request_id}:{request.run_id}:{alert_day(now)}"
            alerts.append((key, _alert(ti, request, _ENDED.format(run=request.run_id), has_ended=True)))
    return alerts


def _next_run_id(request: ApprovalRequest, now: datetime) -> str:
    """A new run id, because Airflow may still have the former run."""
    return f"{request.request_id.replace(' ', '_')}_again_{now:%Y%m%dT%H%M%S}"


def _alert(
    ti: RuntimeTaskInstance,
    request: ApprovalRequest,
    reason: str,
    problem: str | None = None,
    *,
    has_ended: bool = False,
) -> Alert:
    from include.skillreport.core.operation_catalog import APPROVALS

    spec = next(each for each in APPROVALS.values() if each.dag_id == request.dag_id)
    asked = {
        "dag_id": request.dag_id,
        "run_id": request.run_id,
        "problem": problem,
        "is_paused": is_dag_paused(ti, request.dag_id),
    }
    asked_at = f"{request.asked_at.astimezone(JAPAN):%Y-%m-%d %H:%M}" if request.asked_at else ""
    again = (
        f"対処: DAG {request.dag_id} の権限がある人が、新しく実行（Trigger）してください（業務日の欄があれば {request.business_date}）。"
        "今保留中のものの確認が出ます。"
    )
    return Alert(
        LOST_REQUEST.title(spec.id, spec.name),
        (
            f"理由: {reason}",
            f"依頼: {asked_at}（業務日 {request.business_date}）",
            f"重要度: {spec.run_severity.name}",
        ),
        actions=(again,)
        if has_ended
        else tuple(filter(None, [approval_problem(asked), LOST_REQUEST.action])),
        links=() if has_ended else approval_links(asked),
        severity=spec.run_severity.name,
    )
