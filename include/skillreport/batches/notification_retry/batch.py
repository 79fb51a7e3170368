"""BATCH-019-02: reads bounces, retries due messages, parks messages of lost senders, and reports messages that operators must decide."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.batches.notification_retry.fallback import fall_back_to_mail
from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.database import Statements, tenant_transaction
from include.skillreport.core.errors import DatabaseUnavailableError, is_recoverable, reason_of
from include.skillreport.core.execution.batch import (
    Request,
    Run,
    RunRemark,
    TenantBatch,
    UnitFailure,
    UnitResult,
    Work,
)
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.messaging import outbox, suppression
from include.skillreport.messaging.contract_letters import CONTRACT_LETTERS
from include.skillreport.messaging.dispatch import DELIVERY_EFFECTS
from include.skillreport.messaging.feedback.reading import FIGURES, read_feedback
from include.skillreport.messaging.leases import LEASED
from include.skillreport.messaging.preferences import Preferences, load_preferences
from include.skillreport.messaging.resumption import defer
from include.skillreport.messaging.retry import Status
from include.skillreport.messaging.service import Notifications
from include.skillreport.messaging.shared_limits import service_remarks

_SQL = Statements(Path(__file__).parent)

# The reasons that a failure names.
_REASONS = 5

_FINAL_WORDS = {
    Status.DEAD: "送信できなかった通知",
    Status.AMBIGUOUS: "届いたか分からない通知",
    Status.EXPIRED: "期限切れの通知",
    Status.SENT: "宛先の先の 1 人に届かなかった通知",
}


class NotificationRetryBatch(TenantBatch):
    """The steps of BATCH-019-02; see ``include.skillreport.core.execution.batch``."""

    counted = DELIVERY_EFFECTS
    states = frozenset({LEASED})

    def __init__(self, notifications: Notifications) -> None:
        self._notifications = notifications
        self._settings = notifications.settings

    def further_tenants(self, request: Request) -> Collection[str]:
        """Inactive tenants with unfinished messages, unreported failures, or a status that the application's row does not show yet. They
        get only contract e-mails.
        """
        return set(_SQL.column(request.platform, "former_tenants_with_messages"))

    def read_mailbox(self, work: Work) -> RunRemark | None:
        """Read bounces, complaints and unsubscriptions, each in its own transaction. Bounced messages are final failures of this run.

        A failing mailbox is only a warning, because the tenants' work does not need it. A dry run does not read it.
        """
        if work.run.dry_run:
            return None
        try:
            mailbox = work.environment.mailbox()
            network = work.environment.network(with_mail=True) if mailbox else None
            if network is None:
                return None
            network = replace(network, mailbox=mailbox)
            with work.environment.tenants(NOTIFICATION_RETRY.time_limit) as connection:
                reading = read_feedback(work.connection, connection, network, lambda: datetime.now(UTC))
        except Exception as error:
            # Without the database the run cannot continue. Any other error concerns the mailbox.
            if isinstance(error, psycopg.Error | DatabaseUnavailableError):
                raise
            return _unreadable(error, {})
        return (
            _unreadable(reading.problem, reading.counts)
            if reading.problem
            else RunRemark(dict(reading.counts), effects=FIGURES)
        )

    def process(self, work: Work) -> list[UnitResult]:
        """Park messages of lost senders, expire late messages, and replace messages of closed channels by e-mails.

        The first run after a pause holds waiting messages for approval, so that they do not expire.
        """
        now = datetime.now(UTC)
        outbox.mirror_rest(work.connection)
        outbox.park_crashed(work.connection, now)
        suppression.forget_ended(work.connection, now)
        results = defer(
            work.connection,
            work.run,
            NOTIFICATION_RETRY,
            [UnitResult(tenant_id, {}, 0) for tenant_id in work.tenant_ids],
            statuses=(Status.PENDING, Status.RETRY),
        )
        preferences = load_preferences(work.connection, self._settings, now)
        _give_up(work.connection, work.run, preferences, now)
        fall_back_to_mail(
            work.connection,
            {tenant_id: each.settings for tenant_id, each in preferences.items()},
            now,
            created_by=work.run.execution_id,
        )
        return results

    def send(self, work: Work, results: Sequence[UnitResult]) -> Sequence[UnitResult | UnitFailure]:
        """Send the due messages. A tenant fails, with the counts, if it has new final failures, contract e-mails that wait too long, or
        newly closed channels.
        """
        return self._notifications.send_results(work, results, judge=partial(_final_failures, work.run))

    def send_decided(
        self, work: Work, results: Sequence[UnitResult], *, reopened_all: bool
    ) -> Sequence[UnitResult | UnitFailure]:
        """Send the due messages for an operator who decided about some of them, or reopened all channels of the tenants.

        A tenant fails if such a message fails finally, or such a channel closes again. BATCH-019-02 reports other failures to all
        operators.
        """
        judge = partial(_failures_of_decided, work.run, reopened_all)
        return self._notifications.send_results(work, results, judge=judge)

    def service_remarks(self, platform: psycopg.Connection) -> Mapping[str, RunRemark]:
        """The mail servers that reject the installation, and services that have not answered for hours."""
        return service_remarks(platform, datetime.now(UTC))


def _unreadable(problem: Exception, counts: Mapping[str, int]) -> RunRemark:
    return RunRemark(
        dict(counts),
        reason_of(problem),
        "MAILBOX_UNREADABLE",
        may_pass=is_recoverable(problem),
        effects=FIGURES,
    )


def _give_up(
    connection: psycopg.Connection, run: Run, preferences: Mapping[str, Preferences], now: datetime
) -> None:
    expired = _SQL.execute(connection, "give_up", **_too_old(run, preferences, now)).fetchall()
    outbox.mirror_to_host(connection, [message_id for (message_id,) in expired])


def _too_old(run: Run, preferences: Mapping[str, Preferences], now: datetime) -> dict[str, Any]:
    """The parameters for the age limits of messages."""
    day_end = datetime.combine(run.business_date, time(), JAPAN) + timedelta(days=1)
    return {
        "now": now,
        "until": min(now, day_end),
        "tenant_ids": list(preferences),
        "give_up_hours": [each.settings.give_up_hours for each in preferences.values()],
        "contract_letters": list(CONTRACT_LETTERS),
    }


def _final_failures(
    run: Run,
    tenant_ids: Sequence[str],
    preferences: Mapping[str, Preferences],
    connection: psycopg.Connection,
) -> dict[str, UnitFailure]:
    """The failures by tenant: final failures of messages, contract e-mails that wait too long, and closed channels."""
    about = {"execution_id": run.execution_id}
    letters = _too_old(run, preferences, datetime.now(UTC))
    with tenant_transaction(connection, tenant_ids):
        messages = _take_final_failures(connection, run, only_decided=False)
        waiting = _SQL.rows(connection, "take_waiting_contract_letters", **about, **letters)
        channels = _SQL.rows(connection, "take_closed_channels", **about)
    return _by_tenant(messages, waiting, channels)


def _failures_of_decided(
    run: Run,
    reopened_all: bool,
    tenant_ids: Sequence[str],
    _: Mapping[str, Preferences],
    connection: psycopg.Connection,
) -> dict[str, UnitFailure]:
    """The failures by tenant: of messages that the run decided about, and channels that it reopened."""
    with tenant_transaction(connection, tenant_ids):
        messages = _take_final_failures(connection, run, only_decided=True)
        channels = _SQL.rows(
            connection, "closed_again", execution_id=run.execution_id, reopened_all=reopened_all
        )
    return _by_tenant(messages, [], channels)


def _take_final_failures(
    connection: psycopg.Connection, run: Run, *, only_decided: bool
) -> list[dict[str, Any]]:
    return _SQL.rows(
        connection,
        "take_final_failures",
        execution_id=run.execution_id,
        contract_letters=list(CONTRACT_LETTERS),
        only_decided=only_decided,
    )


def _by_tenant(*kinds: Sequence[Mapping[str, Any]]) -> dict[str, UnitFailure]:
    by_tenant: dict[str, tuple[list[Any], list[Any], list[Any]]] = {}
    for place, rows in enumerate(kinds):
        for row in rows:
            by_tenant.setdefault(row["tenant_id"], ([], [], []))[place].append(row)
    return {tenant_id: _final_failure(tenant_id, *found) for tenant_id, found in by_tenant.items()}


def _final_failure(
    tenant_id: str,
    messages: Sequence[Mapping[str, Any]],
    waiting: Sequence[Mapping[str, Any]],
    channels: Sequence[Mapping[str, Any]],
) -> UnitFailure:
    counts = {
        status: sum(row["messages"] for row in messages if row["status"] == status) for status in _FINAL_WORDS
    }
    sentences = []
    if messages:
        words = "、".join(f"{_FINAL_WORDS[status]} {count} 件" for status, count in counts.items() if count)
        sentences.append(f"{words}（{_reasons(messages)}）")
    if waiting:
        oldest = min(row["oldest_due_at"] for row in waiting).astimezone(JAPAN)
        sentences.append(
            f"請求書など契約の通知 {sum(row['messages'] for row in waiting)} 件が {oldest:%m/%d %H:%M} から送信できていません"
            f"（{_reasons(waiting)}）"
        )
    sentences += [
        f"チャネル {row['channel']} を停止しました（{row['reason']}、待機 {row['messages']} 件）"
        for row in channels
    ]
    return UnitFailure(
        tenant_id,
        "NOTIFICATIONS_FAILED" if messages else "LETTERS_WAITING" if waiting else "CHANNEL_CLOSED",
        "。".join(sentences) + "。",
        recoverable=False,
    )


def _reasons(rows: Sequence[Mapping[str, Any]]) -> str:
    """The first reasons with their messages, and the number of the other messages."""
    reasons = [
        f"{row['channel']} {row['messages']} 件: {row['error_detail'] or 'まだ送信していません'}"
        for row in rows[:_REASONS]
    ]
    further = sum(row["messages"] for row in rows[_REASONS:])
    return "、".join([*reasons, *([f"ほか {further} 件"] if further else [])])
