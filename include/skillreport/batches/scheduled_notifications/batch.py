"""BATCH-019-01: sends the application's notifications that are due by nine o'clock and the day's reminders, each once.

Reminders of overdue invoices are billing e-mails. Former tenants get them, too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.batches.scheduled_notifications.digests import digests
from include.skillreport.batches.scheduled_notifications.reminders import Occasion, Route, reminders
from include.skillreport.billing.ledger.letters import letter_kinds
from include.skillreport.billing.ledger.overdue_letters import Reminder, former_debtors, queue_reminders
from include.skillreport.billing.service import Billing
from include.skillreport.billing.settings import BillingSettings
from include.skillreport.core.catalog import SCHEDULED_NOTIFICATIONS
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import (
    Request,
    Run,
    RunRemark,
    StagingBatch,
    UnitFailure,
    UnitResult,
    Work,
)
from include.skillreport.core.execution.business_date import naive_utc
from include.skillreport.core.execution.people import keep_people
from include.skillreport.messaging.channels import CHANNELS
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.contract_letters import PAYMENT_REMINDER
from include.skillreport.messaging.destinations import destinations_for
from include.skillreport.messaging.dispatch import DELIVERY_EFFECTS
from include.skillreport.messaging.leases import LEASED
from include.skillreport.messaging.notices import sending_time
from include.skillreport.messaging.outbox import Lane, MessageDraft
from include.skillreport.messaging.preferences import Preferences, load_preferences
from include.skillreport.messaging.reminder_names import CERTIFICATE_EXPIRY, GOAL_DUE, KEYS
from include.skillreport.messaging.resumption import defer
from include.skillreport.messaging.retry import Status
from include.skillreport.messaging.service import Notifications
from include.skillreport.messaging.settings import (
    LONGEST_REMINDER_DAYS,
    NotificationSettings,
    ServiceSettings,
)
from include.skillreport.messaging.shared_limits import service_remarks
from include.skillreport.messaging.switches import SwitchedOff, load_notification_settings, load_switched_off
from include.skillreport.messaging.template_store import load_templates
from include.skillreport.messaging.templates import literal

_SQL = Statements(Path(__file__).parent)


class ScheduledNotificationsBatch(StagingBatch):
    """The steps of BATCH-019-01; see ``include.skillreport.core.execution.batch``."""

    effects = frozenset({"queued", "expired", "overdueReminders"})
    counted = DELIVERY_EFFECTS
    states = frozenset({LEASED})

    staging_table = "notification_signal"

    def __init__(self, notifications: Notifications, billing: Billing) -> None:
        self._notifications = notifications
        self._settings = notifications.settings
        self._billing = billing

    def further_tenants(self, request: Request) -> Collection[str]:
        """Former tenants with a due e-mail about an invoice. They get no other messages."""
        cutoff = naive_utc(sending_time(request.business_date))
        former = _SQL.column(request.platform, "former_tenants_with_letters", cutoff=cutoff)
        if BillingSettings.load().sends_reminders:
            former += former_debtors(request.platform, self._billing.terms, request.business_date)
        return set(former)

    def prepare(self, work: Work) -> None:
        """Read notifications, certificates and goals once, and write one ``batch.notification_signal`` row per tenant."""
        keep_people(work.connection)
        _SQL.execute(
            work.connection,
            "collect_signals",
            execution_id=work.run.execution_id,
            tenant_ids=list(work.tenant_ids),
            cutoff=naive_utc(_cutoff(work.run)),
            today=work.run.business_date,
            # The longest period that a tenant can set.
            last_day=work.run.business_date + timedelta(days=LONGEST_REMINDER_DAYS),
        )

    def process(self, work: Work) -> list[UnitResult]:
        """Put due notifications into the outbox, each once, and mark expired ones in the application's row.

        The first run after a pause holds the waiting messages for approval.
        """
        signals = _SQL.rows(work.connection, "delete_signals", execution_id=work.run.execution_id)
        preferences = load_preferences(work.connection, self._settings, _cutoff(work.run))
        switched_off = load_switched_off(work.connection, _cutoff(work.run))
        routes = _load_routes(
            work.connection,
            {tenant_id: each.settings.language for tenant_id, each in preferences.items()},
        )
        overdue = self._queue_overdue(work)
        results = [
            self._enqueue(
                work.connection,
                work.run,
                signal,
                [each for each in overdue if each.tenant_id == signal["tenant_id"]],
                preferences[signal["tenant_id"]],
                routes[signal["tenant_id"]],
                switched_off,
            )
            for signal in sorted(signals, key=lambda row: str(row["tenant_id"]))
        ]
        return defer(work.connection, work.run, SCHEDULED_NOTIFICATIONS, results)

    def send(self, work: Work, results: Sequence[UnitResult]) -> Sequence[UnitResult | UnitFailure]:
        """Send all due messages of these tenants. The outcomes contain the tenants' counts, including messages claimed by other senders."""
        return self._notifications.send_results(work, results, statuses=(Status.PENDING,))

    def service_remarks(self, platform: psycopg.Connection) -> Mapping[str, RunRemark]:
        """The mail servers that reject the installation, and services that have not answered for hours."""
        return service_remarks(platform, datetime.now(UTC))

    def _enqueue(
        self,
        connection: psycopg.Connection,
        run: Run,
        signal: Mapping[str, Any],
        overdue: Sequence[Reminder],
        preferences: Preferences,
        routes: Mapping[str, Sequence[Route]],
        switched_off: SwitchedOff,
    ) -> UnitResult:
        tenant_id, cutoff, settings = signal["tenant_id"], _cutoff(run), preferences.settings
        oldest = cutoff - timedelta(hours=settings.expire_hours)
        # E-mails about invoices never expire, so a late one is due ``expire_hours`` before the cutoff at the earliest.
        waiting = [
            (row, max(_scheduled_at(row), oldest) if row["is_letter"] else _scheduled_at(row))
            for row in signal["waiting"]
        ]
        expired = [row["id"] for row, scheduled_at in waiting if scheduled_at < oldest]
        current = [(row, at) for row, at in waiting if at >= oldest]
        nowhere = [row["id"] for row, _ in current if row["channel"] is None]
        blank = [row["id"] for row, _ in current if row["channel"] and not _has_text(row)]
        sendable = [(row, at) for row, at in current if row["channel"] and _has_text(row)]
        kinds = letter_kinds(connection, [row["id"] for row, _ in sendable if row["is_letter"]])
        drafts = [
            _draft(tenant_id, row, scheduled_at, kinds.get(row["id"]), settings.language)
            for row, scheduled_at in sendable
            if not _is_held(tenant_id, row, switched_off)
        ]
        reminded = reminders(
            tenant_id,
            [*map(_certificate, signal["certificates"]), *map(_goal, signal["goals"])],
            run.business_date,
            days_before={CERTIFICATE_EXPIRY: settings.certificate_days, GOAL_DUE: settings.goal_days},
            routes=routes,
            due_at=cutoff,
            service=ServiceSettings.load(),
        )
        wanted = [
            draft for draft in reminded.drafts if Lane(tenant_id, draft.channel) not in switched_off.channels
        ]
        letters = [draft for each in overdue for draft in _letters(each, cutoff)]
        queued = self._queue(connection, [*drafts, *letters, *wanted], settings, run.execution_id)
        notes = [*([preferences.problem] if preferences.problem else []), *reminded.notes]
        notes += dict.fromkeys(note for each in overdue if (note := each.problem or each.remark))
        held = len(sendable) - len(drafts) + len(reminded.drafts) - len(wanted)
        if held:
            notes.append(f"通知の設定が無効のため、通知 {held} 件を送信しません")
        for ids, code, reason in (
            (expired, "expired", f"予定から {settings.expire_hours} 時間以上過ぎたため送信しません"),
            (nowhere, "unknown_channel", "通知の種類（notification_type）が分からないため送信しません"),
            (blank, "no_text", "件名（subject）と本文（message_body）が空のため送信しません"),
        ):
            if ids:
                _SQL.execute(connection, "expire_host_notifications", ids=ids, code=code, reason=reason)
                notes.append(f"{len(ids)} 件: {reason}")
        details = {"queued": queued, "expired": len(expired)}
        if letters:
            details["overdueReminders"] = sent = sum(not each.problem for each in overdue)
            notes.append(f"支払期限を過ぎた請求書の督促 {sent} 件を送信箱に入れました")
        return UnitResult(tenant_id, details, records=len(waiting), notes=tuple(notes))

    def _queue_overdue(self, work: Work) -> list[Reminder]:
        if not BillingSettings.load().sends_reminders:
            return []
        run = work.run
        return queue_reminders(work.connection, self._billing.terms, run.business_date, run.execution_id)

    def _queue(
        self,
        connection: psycopg.Connection,
        drafts: Sequence[MessageDraft],
        settings: NotificationSettings,
        execution_id: str,
    ) -> int:
        """Put new messages into the outbox, and merge reminders of one kind if the setting says so. Returns the number of messages."""
        keys = [draft.dedupe_key for draft in drafts]
        known = {key for _, key in self._notifications.statuses(connection, keys)}
        new = [draft for draft in drafts if draft.dedupe_key not in known]
        told = digests(new, settings.digest)
        self._notifications.enqueue(connection, told, created_by=execution_id)
        return sum(not draft.is_merged for draft in told)


def _is_held(tenant_id: str, row: Mapping[str, Any], switched_off: SwitchedOff) -> bool:
    """True if a setting holds a notification of the application. No setting holds e-mails about invoices."""
    if row["is_letter"]:
        return False
    return row["is_switched_off"] or Lane(tenant_id, CHANNELS[row["channel"]]) in switched_off.channels


def _load_routes(
    connection: psycopg.Connection, languages: Mapping[str, str]
) -> dict[str, dict[str, list[Route]]]:
    """The routes of the transaction's tenants, by tenant and kind of reminder."""
    settings = load_notification_settings(connection)
    destinations = {
        tenant_id: {key: destinations_for(key, settings.get(tenant_id, [])) for key in KEYS}
        for tenant_id in languages
    }
    channels = {
        channel for of_key in destinations.values() for routes in of_key.values() for channel, _ in routes
    }
    templates = {channel: load_templates(connection, list(KEYS), languages, channel) for channel in channels}
    return {
        tenant_id: {
            key: [Route(templates[channel][tenant_id][key], place) for channel, place in places]
            for key, places in of_key.items()
        }
        for tenant_id, of_key in destinations.items()
    }


def _cutoff(run: Run) -> datetime:
    # Notifications scheduled up to this time are due.
    return sending_time(run.business_date)


def _scheduled_at(row: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(row["scheduled_at_utc"]).replace(tzinfo=UTC)


def _has_text(row: Mapping[str, Any]) -> bool:
    """True if the row contains a text. The batches do not fill the row's own template (template_id)."""
    return bool(row["subject"] or row["body"].strip())


def _draft(
    tenant_id: str,
    row: Mapping[str, Any],
    scheduled_at: datetime,
    template_key: str | None,
    language: str = "ja",
) -> MessageDraft:
    channel = CHANNELS[row["channel"]]
    shown = literal(channel, row["subject"], row["body"], is_html=row["is_html"])
    return MessageDraft(
        tenant_id=tenant_id,
        dedupe_key=f"host:{row['id']}",
        channel=channel,
        destination=row["destination"],
        subject=shown.subject,
        body=shown.text,
        rich=shown.rich,
        due_at=scheduled_at,
        priority=row["priority"],
        host_log_id=row["id"],
        template_key=template_key,
        language=language,
    )


def _letters(reminder: Reminder, due_at: datetime) -> list[MessageDraft]:
    row = {
        "channel": EMAIL,
        "subject": reminder.subject,
        "body": reminder.body,
        "is_html": False,
        "priority": 1,
    }
    return [
        _draft(reminder.tenant_id, {**row, "id": log_id, "destination": address}, due_at, PAYMENT_REMINDER)
        for log_id, address in reminder.destinations.items()
    ]


def _certificate(row: Mapping[str, Any]) -> Occasion:
    ends_on = date.fromisoformat(row["expires_on"])
    return Occasion(
        CERTIFICATE_EXPIRY,
        row["record_id"],
        row["email"],
        ends_on,
        {
            "full_name": row["full_name"] or "",
            "certificate_name": row["certificate_name"],
            "expires_on": ends_on,
        },
    )


def _goal(row: Mapping[str, Any]) -> Occasion:
    due_on = date.fromisoformat(row["due_on"])
    return Occasion(
        GOAL_DUE,
        row["goal_id"],
        row["email"],
        due_on,
        {
            "full_name": row["full_name"] or "",
            "goal_title": row["goal_title"],
            "due_on": due_on,
            "progress_rate": row["progress_rate"] or "",
        },
    )
