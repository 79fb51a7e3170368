"""Operations on messages, channels and suppressed addresses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.batches.notification_retry.batch import NotificationRetryBatch
from include.skillreport.core.database import Statements
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Outcome, Request, TenantBatch, UnitResult, Work
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.digest import listed
from include.skillreport.messaging import outbox, suppression
from include.skillreport.messaging.contract_letters import CONTRACT_LETTERS
from include.skillreport.messaging.dispatch import DELIVERY_EFFECTS
from include.skillreport.messaging.leases import LEASED
from include.skillreport.messaging.retry import Status
from include.skillreport.messaging.service import Notifications
from include.skillreport.messaging.suppression import SuppressionReason, masked
from include.skillreport.operations.operate_notifications import form
from include.skillreport.operations.operate_notifications.form import FORM
from include.skillreport.operations.shown import ChecksShown

_SQL = Statements(Path(__file__).parent)

# The maximum number of messages in a tenant's listing.
_LISTED = 200

# An error lists this many messages or addresses and counts the others.
_REFUSED = 10
_MORE = "ほか {:,} 件"

_STOPPED = "通知を止めました。待っている通知は {} 件です。再開するまで送りません"

_REASONS = {
    SuppressionReason.BOUNCE: "不達",
    SuppressionReason.COMPLAINT: "苦情",
    SuppressionReason.UNSUBSCRIBE: "配信停止の依頼",
}

_DECISIONS = {form.Resend: Status.PENDING, form.Discard: Status.DISCARDED, form.MarkSent: Status.SENT}


class NotificationOperations(ChecksShown, TenantBatch):
    """One operation on the outbox of all tenants, or of the named tenants."""

    effects = frozenset({"resend", "discard", "mark_sent", "lifted", "reopened", "resumed"})
    counted = DELIVERY_EFFECTS
    states = frozenset({"waiting", LEASED})

    own_form = FORM

    def __init__(self, notifications: Notifications) -> None:
        self._retry = NotificationRetryBatch(notifications)

    def further_tenants(self, request: Request) -> Collection[str]:
        """Inactive tenants: all if the form names tenants, otherwise with messages, stops, closed channels or suppressed addresses."""
        return set(_SQL.column(request.platform, "further_tenants", are_named=bool(request.codes)))

    def options(self, request: Request) -> dict[str, Any]:
        """The operation and its values.

        :raises ParameterError: a message needs no decision, or an address is not suppressed.
        """
        entered = FORM.entered(request.values, request.run_date)
        if isinstance(entered, form.Lift):
            _require_suppressed(request, entered.addresses)
        if isinstance(entered, form.MessageDecision):
            about = {"message_ids": list(entered.messages), "tenant_ids": request.tenant_ids}
            rows = _SQL.execute(request.platform, "undecidable", **about).fetchall()
            if rows:
                named = "、".join(listed(rows, _undecidable, _MORE, _REFUSED))
                raise ParameterError(f"この通知は決められません: {named}。操作「一覧」で確認してください。")
        return entered.values()

    def process(self, work: Work) -> list[UnitResult]:
        """List unfinished messages or suppressed addresses, or record the operator's decision."""
        entered = FORM.entered(work.run.options)
        if isinstance(entered, form.List):
            return _reported(work, _listings(work.connection), "待機中の通知はありません")
        if isinstance(entered, form.ListSuppressed):
            lines = _suppressions(work.connection, entered.addresses)
            return _reported(work, lines, "送信を止めた宛先はありません")
        if isinstance(entered, form.Lift):
            lifted = suppression.lift(work.connection, entered.addresses)
            return _counted(work.tenant_ids, "lifted", [(tenant_id,) for tenant_id in lifted])
        if isinstance(entered, form.Stop):
            return _stopped(work, entered)
        if isinstance(entered, form.Resume):
            return _resumed(work)
        if not isinstance(entered, form.MessageDecision):
            opened = _SQL.execute(work.connection, "reopen_channels").fetchall()
            return _counted(work.tenant_ids, "reopened", opened)
        decided = _SQL.execute(
            work.connection,
            "decide",
            message_ids=list(entered.messages),
            status=_DECISIONS[type(entered)],
            now=datetime.now(UTC),
            execution_id=work.run.execution_id,
        ).fetchall()
        outbox.mirror_to_host(work.connection, [message_id for _, message_id, _ in decided])
        return _decided(work.tenant_ids, entered.name, decided)

    def send(self, work: Work, results: Sequence[UnitResult]) -> Sequence[Outcome]:
        """After ``resend``, ``reopen`` or ``resume``, send the due messages, like BATCH-019-02."""
        operation = FORM.chosen(work.run.options)
        if operation not in (form.Resend, form.ReopenChannels, form.Resume):
            return results
        return self._retry.send_decided(work, results, reopened_all=operation is form.ReopenChannels)


def _stopped(work: Work, entered: form.Stop) -> list[UnitResult]:
    """Stop the tenants' messages, replacing earlier stops. The notes contain the numbers of waiting messages."""
    waiting = _SQL.rows(
        work.connection,
        "stop_messages",
        tenant_ids=list(work.tenant_ids),
        still_sent=[] if entered.contract_letters else sorted(CONTRACT_LETTERS),
        reason=entered.reason,
        person=work.run.person,
    )
    return [
        UnitResult(
            row["tenant_id"],
            {"waiting": row["messages"]},
            row["messages"],
            notes=(_STOPPED.format(row["messages"]),),
        )
        for row in waiting
    ]


def _resumed(work: Work) -> list[UnitResult]:
    """Resume the tenants' messages. The expiry time of waiting messages starts again."""
    released: dict[str, int] = dict(
        _SQL.execute(work.connection, "resume_messages", now=datetime.now(UTC)).fetchall()
    )
    return [
        UnitResult(
            tenant_id,
            {"resumed": released.get(tenant_id, 0)},
            released.get(tenant_id, 0),
            notes=(
                f"待っていた通知 {released[tenant_id]} 件の送信を再開しました"
                if tenant_id in released
                else "通知は止めていません",
            ),
        )
        for tenant_id in work.tenant_ids
    ]


def _decided(
    tenant_ids: Sequence[str], name: str, decided: Sequence[tuple[str, str, bool]]
) -> list[UnitResult]:
    """The results with each tenant's number of messages, and a note about stopped messages."""
    stopped = Counter(tenant_id for tenant_id, _, is_stopped in decided if is_stopped)
    return [
        replace(result, notes=(_STOPPED.format(stopped[result.unit_id]),))
        if result.unit_id in stopped
        else result
        for result in _counted(tenant_ids, name, decided)
    ]


def _counted(tenant_ids: Sequence[str], name: str, rows: Sequence[tuple[Any, ...]]) -> list[UnitResult]:
    """The results with each tenant's number of rows, whose first column is the tenant's id."""
    numbers = Counter(row[0] for row in rows)
    return [UnitResult(tenant_id, {name: numbers[tenant_id]}, 0) for tenant_id in tenant_ids]


def _reported(work: Work, lines: Mapping[str, tuple[str, ...]], nothing: str) -> list[UnitResult]:
    return [
        UnitResult(tenant_id, {}, 0, report=lines.get(tenant_id, (nothing,))) for tenant_id in work.tenant_ids
    ]


def _undecidable(row: tuple[str, str | None]) -> str:
    message_id, status = row
    return f"{message_id}（{status or '対象のテナントにありません'}）"


def _require_suppressed(request: Request, addresses: Sequence[str]) -> None:
    """Check the addresses. :raises ParameterError: one is not suppressed. It is masked, because errors are logged."""
    absent = suppression.not_suppressed(request.platform, request.tenant_ids, addresses, datetime.now(UTC))
    if absent:
        raise ParameterError(
            f"対象のテナントで送信を止めていない宛先があります: {'、'.join(listed(absent, masked, _MORE, _REFUSED))}。"
            "操作「送信を止めた宛先の一覧」で確認してください。"
        )


def _suppressions(connection: psycopg.Connection, addresses: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The lines for the log, by tenant. Addresses are masked, unless the form contains them, because task logs have many readers."""
    named = {address.lower() for address in addresses}
    now = datetime.now(UTC)
    found, numbers = suppression.list_suppressed(connection, addresses, now, most=_LISTED)
    lines: dict[str, list[str]] = {
        tenant_id: [f"送信を止めた宛先 {number} 件"] for tenant_id, number in numbers.items()
    }
    for each in found:
        shown = each.address if each.address in named else masked(each.address)
        reason = _REASONS[each.reason]
        if each.reason is SuppressionReason.BOUNCE:
            reason = f"{reason} {each.error_code}、続けて {each.bounces} 回"
        until = f"{_in_japan(each.until)} まで" if each.until else "期限なし"
        if each.bounced_until and each.bounced_until > now:
            reason = f"{reason}。不達 {each.error_code} のため、契約の通知も止めています"
        lines[each.tenant_id].append(f"{shown}（{reason}）、{_in_japan(each.since)} から {until}")
    for tenant_id, number in numbers.items():
        if number > _LISTED:
            lines[tenant_id].append(f"ほか {number - _LISTED} 件")
    return {tenant_id: tuple(shown) for tenant_id, shown in lines.items()}


def _listings(connection: psycopg.Connection) -> dict[str, tuple[str, ...]]:
    """The lines for the log, by tenant: the stop, the closed channels, then the messages, worst first."""
    circuits = _SQL.rows(connection, "list_closed_channels")
    rows = _SQL.rows(connection, "list_waiting", count=_LISTED)
    lines: dict[str, list[str]] = {}
    for stop in _SQL.rows(connection, "list_stops"):
        lines[stop["tenant_id"]] = [
            f"通知の送信を停止中です（{stop['reason']}、{stop['entered_by']}、{_in_japan(stop['entered_at'])} から）"
        ]
    for circuit in circuits:
        lines.setdefault(circuit["tenant_id"], []).append(
            f"停止中のチャネル {circuit['channel']}: {circuit['reason']}（{_in_japan(circuit['opened_at'])} から）"
        )
    for tenant_id, of_tenant in groupby(rows, key=lambda row: str(row["tenant_id"])):
        first = list(of_tenant)
        shown = lines.setdefault(tenant_id, [])
        shown.append(f"通知 {first[0]['messages']} 件（送信済み・破棄を除く）")
        shown += map(_line, first)
        if first[0]["messages"] > len(first):
            shown.append(f"ほか {first[0]['messages'] - len(first)} 件")
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
