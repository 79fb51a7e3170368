"""BATCH-019-02: what is due for another attempt, what a lost sender left in doubt, and what operators decide about the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.database import read_sql, tenant_transaction
from include.errors import ParameterError
from include.execution.business_date import JAPAN
from include.execution.sharding import Tenant
from include.execution.tenant_work import Run, TenantBatch, TenantFailure, TenantResult
from include.messaging import outbox
from include.messaging.delivery import DeliveryReport, deliver, failure_of, owner_of
from include.messaging.message import Network
from include.messaging.outcome import Channel
from include.messaging.preferences import load_preferences
from include.messaging.retry import Status
from include.settings import NotificationSettings

_HERE = Path(__file__).parent

# Messages that one tenant's listing shows.
_LISTED = 200


class Action(StrEnum):
    """What a run does: its ordinary work, a look at the outbox, or what an operator decides about messages and closed channels."""

    SEND = "send"
    LIST = "list"
    REQUEUE = "requeue"
    DISCARD = "discard"
    MARK_SENT = "mark_sent"
    REOPEN = "reopen"


_DECISIONS = {
    Action.REQUEUE: Status.PENDING,
    Action.DISCARD: Status.DISCARDED,
    Action.MARK_SENT: Status.SENT,
}

# What opens a closed channel.
_CHANNEL_MENDED = "外部連携の設定（SYS_IntegrationConfig）を直すと、次の回から送信します"
_MAIL_MENDED = (
    "Airflow の接続 'batch_smtp' を直し、Trigger の操作「停止中のチャネルを再開」で送信してください"
)

_FINAL_WORDS = {
    Status.DEAD: "送信できなかった通知",
    Status.AMBIGUOUS: "届いたか分からない通知",
    Status.EXPIRED: "期限切れの通知",
}


class NotificationRetryBatch(TenantBatch):
    """The steps of BATCH-019-02; see ``TenantBatch`` for what each must hold to."""

    sends_messages = True

    def __init__(self, settings: NotificationSettings) -> None:
        self._settings = settings

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

    def verify(
        self, platform: psycopg.Connection, options: Mapping[str, Any], tenants: Sequence[Tenant]
    ) -> None:
        """Refuse a decision about messages that are not there to be decided about. :raises ParameterError: names them."""
        if options["action"] not in _DECISIONS:
            return
        rows = platform.execute(
            read_sql(_HERE, "undecidable"),
            {
                "message_ids": options["messages"],
                "tenant_ids": [tenant.id for tenant in tenants],
            },
        ).fetchall()
        if rows:
            named = "、".join(
                f"{message_id}（{status or '対象のテナントにありません'}）" for message_id, status in rows
            )
            raise ParameterError(f"この通知は決められません: {named}。操作「一覧」で確認してください。")

    def process(
        self, connection: psycopg.Connection, run: Run, tenant_ids: Sequence[str]
    ) -> list[TenantResult]:
        """Park what lost senders left behind and give up what is too old; or do what the operator asked for."""
        action, now = Action(run.options["action"]), datetime.now(UTC)
        if action is Action.LIST:
            listings = _listings(connection)
            return [
                TenantResult(tenant_id, {}, 0, report=listings.get(tenant_id, ("待機中の通知はありません",)))
                for tenant_id in tenant_ids
            ]
        if action is Action.REOPEN:
            opened = connection.execute("DELETE FROM batch.channel_circuit RETURNING tenant_id").fetchall()
            return _counted(tenant_ids, "reopened", opened)
        if action in _DECISIONS:
            decided = connection.execute(
                read_sql(_HERE, "decide"),
                {
                    "message_ids": run.options["messages"],
                    "status": _DECISIONS[action],
                    "now": now,
                    "execution_id": run.execution_id,
                },
            ).fetchall()
            outbox.mirror_to_host(connection, [message_id for _, message_id in decided])
            return _counted(tenant_ids, action.value, decided)
        outbox.mirror_rest(connection)
        outbox.park_crashed(connection, now)
        self._give_up(connection, run, now)
        return [TenantResult(tenant_id, {}, 0) for tenant_id in tenant_ids]

    def send(
        self,
        connection: psycopg.Connection,
        run: Run,
        results: Sequence[TenantResult],
        network: Network,
    ) -> Sequence[TenantResult | TenantFailure]:
        """Send what is due; a tenant with messages that finally failed, or a channel that closed, has failed, once, with the counts."""
        if run.options["action"] not in (Action.SEND, Action.REQUEUE, Action.REOPEN):
            return results
        tenant_ids = [result.tenant_id for result in results]
        now = datetime.now(UTC)
        reports = deliver(
            connection,
            tenant_ids,
            network,
            owner=owner_of(run),
            clock=lambda: datetime.now(UTC),
            settings=self._settings,
            stop_at=now + timedelta(seconds=run.send_seconds),
        )
        failures = _final_failures(connection, run, tenant_ids)
        return [
            failures.get(result.tenant_id)
            or failure_of(result.tenant_id, report)
            or replace(result, details=result.details | _counts(report))
            for result in results
            for report in [reports.get(result.tenant_id, DeliveryReport())]
        ]

    def _give_up(self, connection: psycopg.Connection, run: Run, now: datetime) -> None:
        preferences = load_preferences(connection, self._settings, now)
        day_end = datetime.combine(run.business_date, time(), JAPAN) + timedelta(days=1)
        expired = connection.execute(
            read_sql(_HERE, "give_up"),
            {
                "now": now,
                "until": min(now, day_end),
                "tenant_ids": list(preferences),
                "give_up_hours": [own.settings.give_up_hours for own in preferences.values()],
            },
        ).fetchall()
        outbox.mirror_to_host(connection, [message_id for (message_id,) in expired])


def _counted(tenant_ids: Sequence[str], name: str, rows: Sequence[tuple[Any, ...]]) -> list[TenantResult]:
    """Each tenant's result with the number of its rows, which begin with the tenant's id."""
    numbers = Counter(row[0] for row in rows)
    return [TenantResult(tenant_id, {name: numbers[tenant_id]}, 0) for tenant_id in tenant_ids]


def _counts(report: DeliveryReport) -> dict[str, int]:
    return {
        "totalNotifications": report.total(),
        "sentCount": report.total(Status.SENT),
        "retryCount": report.total(Status.RETRY),
    }


def _final_failures(
    connection: psycopg.Connection, run: Run, tenant_ids: Sequence[str]
) -> dict[str, TenantFailure]:
    """One sentence per tenant: its messages that nothing happens to by itself any more, and its channels that are closed."""
    about = {"execution_id": run.execution_id}
    with tenant_transaction(connection, tenant_ids), connection.cursor(row_factory=dict_row) as cursor:
        messages = cursor.execute(read_sql(_HERE, "take_final_failures"), about).fetchall()
        channels = cursor.execute(read_sql(_HERE, "take_closed_channels"), about).fetchall()
    by_tenant: dict[str, tuple[list[Any], list[Any]]] = {}
    for place, rows in enumerate((messages, channels)):
        for row in rows:
            by_tenant.setdefault(row["tenant_id"], ([], []))[place].append(row)
    return {tenant_id: _final_failure(tenant_id, *found) for tenant_id, found in by_tenant.items()}


def _final_failure(
    tenant_id: str, messages: Sequence[Mapping[str, Any]], channels: Sequence[Mapping[str, Any]]
) -> TenantFailure:
    counts = {
        status: sum(row["messages"] for row in messages if row["status"] == status) for status in _FINAL_WORDS
    }
    reasons = "、".join(
        f"{row['channel']} {row['messages']} 件: {row['error_detail']}" for row in messages[:5]
    )
    sentences = []
    if messages:
        words = "、".join(f"{_FINAL_WORDS[status]} {count} 件" for status, count in counts.items() if count)
        sentences.append(
            # The alert cuts what is long: what to do comes before the details.
            f"{words}。Trigger の操作「一覧」で確認し、再送・破棄・送信済みのどれかに決めてください（{reasons}）"
        )
    sentences += [
        f"チャネル {row['channel']} を停止しました（{row['reason']}、待機 {row['messages']} 件）。"
        f"{_MAIL_MENDED if row['channel'] == Channel.EMAIL else _CHANNEL_MENDED}"
        for row in channels
    ]
    return TenantFailure(
        tenant_id,
        "NOTIFICATIONS_FAILED" if messages else "CHANNEL_CLOSED",
        "。".join(sentences) + "。",
        recoverable=False,
    )


def _listings(connection: psycopg.Connection) -> dict[str, tuple[str, ...]]:
    """What the log shows of each tenant that has something: its closed channels, then its messages, worst first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        circuits = cursor.execute(
            "SELECT * FROM batch.channel_circuit ORDER BY tenant_id, channel"
        ).fetchall()
        rows = cursor.execute(read_sql(_HERE, "list_waiting"), {"count": _LISTED}).fetchall()
    lines: dict[str, list[str]] = {}
    for circuit in circuits:
        lines.setdefault(circuit["tenant_id"], []).append(
            f"停止中のチャネル {circuit['channel']}: {circuit['reason']}（{_in_japan(circuit['opened_at'])} から）"
        )
    for tenant_id, of_tenant in groupby(rows, key=lambda row: str(row["tenant_id"])):
        listed = list(of_tenant)
        own = lines.setdefault(tenant_id, [])
        own.append(f"通知 {listed[0]['messages']} 件（送信済み・破棄を除く）")
        own += map(_line, listed)
        if listed[0]["messages"] > len(listed):
            own.append(f"ほか {listed[0]['messages'] - len(listed)} 件")
    return {tenant_id: tuple(own) for tenant_id, own in lines.items()}


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
