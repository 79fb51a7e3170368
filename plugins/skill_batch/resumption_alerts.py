"""The daily alerts about items that runs after a pause hold until users approve them (「再開の承認」)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from skill_batch.notifiers.alert import JAPAN, Alert
from skill_batch.notifiers.alert_kinds import RESUMPTION
from skill_batch.notifiers.approval_links import approval_links, approval_problem, is_dag_paused

if TYPE_CHECKING:
    import psycopg
    from airflow.sdk.types import RuntimeTaskInstanceProtocol as RuntimeTaskInstance

    from include.skillreport.approvals.requests import Unconfirmed
    from include.skillreport.core.run_spec import RunSpec

# The hour (Asia/Tokyo) of the daily alert. The first alert is sent at once.
_HOUR = 9


def resumption_alerts(
    platform: psycopg.Connection, ti: RuntimeTaskInstance, now: datetime
) -> list[tuple[str, Alert]]:
    """The keys and alerts of all unanswered requests. A key is the same until nine o'clock. ``now`` is aware."""
    from include.skillreport.approvals.requests import unconfirmed

    return [
        (f"resumption:{each.request_id}:{alert_day(now)}", _alert(each, is_dag_paused(ti, each.dag_id)))
        for each in unconfirmed(platform)
    ]


def alert_day(now: datetime) -> date:
    """The day of a daily alert, which begins at nine o'clock. ``now`` is aware."""
    return (now.astimezone(JAPAN) - timedelta(hours=_HOUR)).date()


def refused_alert(spec: RunSpec, reason: str | None, shown: Mapping[str, Any]) -> Alert:
    """The alert about a run whose request Airflow does not show. ``shown`` is the result of the task ``request_approval``."""
    return Alert(
        RESUMPTION.title(spec.id, spec.name),
        (f"理由: {reason}", f"重要度: {spec.run_severity.name}"),
        actions=(approval_problem(shown),),
        severity=spec.run_severity.name,
    )


def _alert(waiting: Unconfirmed, is_paused: bool) -> Alert:
    from include.skillreport.core.operation_catalog import RUN_SPECS

    specs = [RUN_SPECS[batch_id] for batch_id in waiting.batch_ids]
    severity = max(spec.run_severity for spec in specs).name
    what = "通知" if waiting.kind == "resumption" else "請求書の下書き"
    asked = {"dag_id": waiting.dag_id, "run_id": waiting.run_id, "is_paused": is_paused}
    return Alert(
        RESUMPTION.title(
            "、".join(waiting.batch_ids),
            "、".join(spec.name for spec in specs),
            f"{what} {waiting.waiting:,} 件",
        ),
        (
            f"待っている{what}: {waiting.waiting:,} 件（{waiting.asked_at.astimezone(JAPAN):%Y-%m-%d %H:%M} から）",
            f"理由: {waiting.reason}",
            f"重要度: {severity}",
        ),
        actions=tuple(filter(None, [approval_problem(asked), RESUMPTION.action])),
        links=approval_links(asked),
        severity=severity,
    )
