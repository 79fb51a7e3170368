"""BATCH-019-02: what is due for another attempt, what a lost sender left in doubt, and what operators decide about the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.database import read_sql, tenant_transaction
from include.errors import ParameterError
from include.execution.sharding import Tenant
from include.execution.tenant_work import Run, TenantBatch, TenantFailure, TenantResult
from include.notification import outbox
from include.notification.delivery import DeliveryReport, deliver
from include.notification.message import Network
from include.notification.retry import Status

_HERE = Path(__file__).parent

# Messages that one tenant's listing shows.
_LISTED = 200


class Action(StrEnum):
    """What a run does: its ordinary work, a look at the outbox, or what an operator decides about single messages."""

    SEND = "send"
    LIST = "list"
    REQUEUE = "requeue"
    DISCARD = "discard"
    MARK_SENT = "mark_sent"


_DECISIONS = {
    Action.REQUEUE: Status.PENDING,
    Action.DISCARD: Status.DISCARDED,
    Action.MARK_SENT: Status.SENT,
}


class NotificationRetryBatch(TenantBatch):
    """The steps of BATCH-019-02; see ``TenantBatch`` for what each must hold to."""

    sends_messages = True

    def options(
        self,
        parameters: Mapping[str, Any],
        tenants: Sequence[Tenant],  # noqa: ARG002
        *,
        all_tenants: bool,  # noqa: ARG002
    ) -> dict[str, Any]:
        """``action``, and the ``messages`` (ids) that it is about."""
        try:
            action = Action(str(parameters.get("action") or Action.SEND))
        except ValueError:
            raise ParameterError(
                f"「操作」（action）{parameters.get('action')!r} は使えません。{'、'.join(Action)} のどれかを指定してください。"
            ) from None
        messages = [str(message).strip() for message in parameters.get("messages") or []]
        if action in _DECISIONS and not any(messages):
            raise ParameterError(
                "「メッセージID」（messages）を指定してください。一覧は操作「一覧」で表示できます。"
            )
        return {"action": action, "messages": [message for message in messages if message]}

    def process(
        self, connection: psycopg.Connection, run: Run, tenant_ids: Sequence[str]
    ) -> list[TenantResult]:
        """Park what lost senders left behind; or do what the operator asked for."""
        action, now = Action(run.options["action"]), datetime.now(UTC)
        results = {tenant_id: TenantResult(tenant_id, {}, 0) for tenant_id in tenant_ids}
        if action is Action.LIST:
            return [
                replace(results[tenant_id], report=report)
                for tenant_id, report in _listings(connection, results)
            ]
        if action in _DECISIONS:
            decided = connection.execute(
                read_sql(_HERE, "decide"),
                {
                    "message_ids": run.options["messages"],
                    "status": _DECISIONS[action],
                    "now": now,
                    "decided_by": run.execution_id,
                },
            ).rowcount
            return [replace(result, details={action: decided}) for result in results.values()]
        outbox.park_crashed(connection, now)
        return list(results.values())

    def send(
        self,
        connection: psycopg.Connection,
        run: Run,
        results: Sequence[TenantResult],
        network: Network,
    ) -> Sequence[TenantResult | TenantFailure]:
        """Send what is due; a tenant with messages that finally failed has failed, once, with their counts."""
        if run.options["action"] not in (Action.SEND, Action.REQUEUE):
            return results
        tenant_ids = [result.tenant_id for result in results]
        reports = deliver(
            connection, tenant_ids, network, owner=run.execution_id, clock=lambda: datetime.now(UTC)
        )
        with tenant_transaction(connection, tenant_ids), connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                read_sql(_HERE, "take_final_failures"), {"now": datetime.now(UTC)}
            ).fetchall()
        failures = {
            tenant_id: _final_failure(str(tenant_id), list(of_tenant))
            for tenant_id, of_tenant in groupby(rows, key=lambda row: row["tenant_id"])
        }
        return [
            failures.get(result.tenant_id)
            or replace(result, details=_counts(reports.get(result.tenant_id, DeliveryReport())))
            for result in results
        ]


def _counts(report: DeliveryReport) -> dict[str, int]:
    return {
        "totalNotifications": report.total(),
        "sentCount": report.total(Status.SENT),
        "retryCount": report.total(Status.RETRY),
    }


def _final_failure(tenant_id: str, rows: Sequence[Mapping[str, Any]]) -> TenantFailure:
    """One sentence for all of a tenant's messages that nothing happens to by itself any more."""
    dead = sum(row["messages"] for row in rows if row["status"] == Status.DEAD)
    ambiguous = sum(row["messages"] for row in rows if row["status"] == Status.AMBIGUOUS)
    reasons = "、".join(f"{row['channel']} {row['messages']} 件: {row['error_detail']}" for row in rows[:5])
    counts = "、".join(
        text
        for count, text in (
            (dead, f"送信できなかった通知 {dead} 件"),
            (ambiguous, f"届いたか分からない通知 {ambiguous} 件"),
        )
        if count
    )
    return TenantFailure(
        tenant_id,
        "NOTIFICATIONS_FAILED",
        f"{counts}（{reasons}）。Trigger の操作「一覧」で確認し、再送・破棄・送信済みのどれかに決めてください。",
        recoverable=False,
    )


def _listings(
    connection: psycopg.Connection, results: Mapping[str, TenantResult]
) -> list[tuple[str, tuple[str, ...]]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(read_sql(_HERE, "list_waiting"), {"count": _LISTED}).fetchall()
    lines = {
        tenant_id: tuple(_line(row) for row in of_tenant)
        for tenant_id, of_tenant in groupby(rows, key=lambda row: str(row["tenant_id"]))
    }
    return [(tenant_id, lines.get(tenant_id, ())) for tenant_id in results]


def _line(row: Mapping[str, Any]) -> str:
    closed = f"、チャネル停止中: {row['closed_because']}" if row["closed_because"] else ""
    return (
        f"{row['message_id']} {row['channel']} {row['status']} {row['attempts']} 回目まで済み"
        f"、次回 {row['next_attempt_at']:%Y-%m-%d %H:%M} UTC{closed}"
        f"{'、' + row['error_detail'] if row['error_detail'] else ''}"
        f"{'、HIS_NotificationLog ' + row['host_log_id'] if row['host_log_id'] else ''}"
    )
