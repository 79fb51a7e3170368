"""Operations on messages and channels: list, resend, discard, mark as sent, reopen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg

from include.database import Statements
from include.errors import ParameterError
from include.execution.batch import (
    Outcome,
    Request,
    SendsMessages,
    TakesOptions,
    TenantBatch,
    UnitResult,
    Work,
)
from include.execution.business_date import JAPAN
from include.messaging import outbox
from include.messaging.retry import Status
from include.messaging.service import Notifications
from include.notification.notification_retry.batch import NotificationRetryBatch
from include.operations.forms import NOTIFICATIONS

_SQL = Statements(Path(__file__).parent)

# The listing of a tenant shows this many messages.
_LISTED = 200

_DECISIONS = {"resend": Status.PENDING, "discard": Status.DISCARDED, "mark_sent": Status.SENT}


class NotificationOperations(TakesOptions, TenantBatch, SendsMessages):
    """One operation on the outbox of all tenants, or of the named tenants."""

    def __init__(self, notifications: Notifications) -> None:
        self._retry = NotificationRetryBatch(notifications)

    def options(self, request: Request) -> dict[str, Any]:
        """``operation`` and the ids of its ``messages``. :raises ParameterError: a message needs no decision."""
        operation = NOTIFICATIONS.chosen(request.values)
        messages = [str(each).strip() for each in request.values.get("messages") or [] if str(each).strip()]
        about = {"message_ids": messages, "tenant_ids": request.tenant_ids}
        rows = _SQL.execute(request.platform, "undecidable", **about).fetchall()
        if rows:
            named = "、".join(
                f"{message_id}（{status or '対象のテナントにありません'}）" for message_id, status in rows
            )
            raise ParameterError(f"この通知は決められません: {named}。操作「一覧」で確認してください。")
        return {"operation": operation.name, "messages": messages}

    def process(self, work: Work) -> list[UnitResult]:
        """List the unfinished messages, or record the operator's decision."""
        operation = work.run.options["operation"]
        if operation == "list":
            listings = _listings(work.connection)
            nothing = ("待機中の通知はありません",)
            return [
                UnitResult(tenant_id, {}, 0, report=listings.get(tenant_id, nothing))
                for tenant_id in work.tenant_ids
            ]
        if operation == "reopen":
            opened = _SQL.execute(work.connection, "reopen_channels").fetchall()
            return _counted(work.tenant_ids, "reopened", opened)
        decided = _SQL.execute(
            work.connection,
            "decide",
            message_ids=work.run.options["messages"],
            status=_DECISIONS[operation],
            now=datetime.now(UTC),
            execution_id=work.run.execution_id,
        ).fetchall()
        outbox.mirror_to_host(work.connection, [message_id for _, message_id in decided])
        return _counted(work.tenant_ids, operation, decided)

    def send(self, work: Work, results: Sequence[UnitResult]) -> Sequence[Outcome]:
        """After ``resend`` or ``reopen``, send the messages that are due, as BATCH-019-02 does."""
        if work.run.options["operation"] not in ("resend", "reopen"):
            return results
        return self._retry.send(work, results)


def _counted(tenant_ids: Sequence[str], name: str, rows: Sequence[tuple[Any, ...]]) -> list[UnitResult]:
    """The results with each tenant's number of rows. The first column is the tenant's id."""
    numbers = Counter(row[0] for row in rows)
    return [UnitResult(tenant_id, {name: numbers[tenant_id]}, 0) for tenant_id in tenant_ids]


def _listings(connection: psycopg.Connection) -> dict[str, tuple[str, ...]]:
    """The lines for the log, by tenant: the closed channels, then the messages, worst first."""
    circuits = _SQL.rows(connection, "list_closed_channels")
    rows = _SQL.rows(connection, "list_waiting", count=_LISTED)
    lines: dict[str, list[str]] = {}
    for circuit in circuits:
        lines.setdefault(circuit["tenant_id"], []).append(
            f"停止中のチャネル {circuit['channel']}: {circuit['reason']}（{_in_japan(circuit['opened_at'])} から）"
        )
    for tenant_id, of_tenant in groupby(rows, key=lambda row: str(row["tenant_id"])):
        listed = list(of_tenant)
        shown = lines.setdefault(tenant_id, [])
        shown.append(f"通知 {listed[0]['messages']} 件（送信済み・破棄を除く）")
        shown += map(_line, listed)
        if listed[0]["messages"] > len(listed):
            shown.append(f"ほか {listed[0]['messages'] - len(listed)} 件")
    return {tenant_id: tuple(shown) for tenant_id, shown in lines.items()}


def _line(row: Mapping[str, Any]) -> str:
    waits = row["status"] in (Status.PENDING, Status.RETRY)
    parts = [
        f"{row['message_id']} {row['channel']} {row['status']}（{row['attempts']} 回試行）",
        *(["チャネル停止中"] if row["is_closed"] and waits else []),
        *([f"次回 {_in_japan(row['next_attempt_at'])}"] if waits and not row["is_closed"] else []),
        *([row["error_detail"]] if row["error_detail"] else []),
        f"HIS_NotificationLog {row['host_log_id']}" if row["host_log_id"] else row["dedupe_key"],
    ]
    return "、".join(parts)


def _in_japan(moment: datetime) -> str:
    return f"{moment.astimezone(JAPAN):%Y-%m-%d %H:%M}"
