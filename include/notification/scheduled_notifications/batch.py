"""BATCH-019-01: what the application wants sent by nine o'clock, and the reminders of the day, once each over the right channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.database import read_sql
from include.execution.tenant_work import Run, TenantBatch, TenantFailure, TenantResult
from include.messaging import outbox
from include.messaging.delivery import DeliveryReport, deliver, failure_of, owner_of
from include.messaging.message import Network
from include.messaging.notices import sending_time
from include.messaging.outbox import Draft
from include.messaging.outcome import Channel
from include.messaging.preferences import Preferences, load_preferences
from include.messaging.retry import Status
from include.messaging.template_store import load_templates
from include.messaging.templates import Template, literal
from include.notification.scheduled_notifications.reminders import (
    CERTIFICATE_EXPIRY,
    GOAL_DUE,
    Occasion,
    reminders,
)
from include.settings import LONGEST_REMINDER_DAYS, NotificationSettings

_HERE = Path(__file__).parent


class ScheduledNotificationsBatch(TenantBatch):
    """The steps of BATCH-019-01; see ``TenantBatch`` for what each must hold to."""

    sends_messages = True
    staging_table = "notification_signal"

    def __init__(self, settings: NotificationSettings) -> None:
        self._settings = settings

    def prepare(self, platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> None:
        """Read notifications, certificates and goals once, and leave one ``batch.notification_signal`` row per tenant."""
        platform.execute(
            read_sql(_HERE, "collect_signals"),
            {
                "execution_id": run.execution_id,
                "tenant_ids": list(tenant_ids),
                "cutoff": _cutoff(run).astimezone(UTC).replace(tzinfo=None),
                "today": run.business_date,
                # Each tenant has days of its own.
                "last_day": run.business_date + timedelta(days=LONGEST_REMINDER_DAYS),
            },
        )

    def process(
        self,
        connection: psycopg.Connection,
        run: Run,
        tenant_ids: Sequence[str],  # noqa: ARG002 - the transaction's context says it
    ) -> list[TenantResult]:
        """Put what is due into the outbox, each once; what waited too long is marked in the application's row."""
        with connection.cursor(row_factory=dict_row) as cursor:
            signals = cursor.execute(
                read_sql(_HERE, "use_up_signals"), {"execution_id": run.execution_id}
            ).fetchall()
        preferences = load_preferences(connection, self._settings, _cutoff(run))
        templates = load_templates(
            connection,
            [CERTIFICATE_EXPIRY, GOAL_DUE],
            {tenant_id: own.settings.language for tenant_id, own in preferences.items()},
        )
        return [
            self._enqueue(
                connection, run, signal, preferences[signal["tenant_id"]], templates[signal["tenant_id"]]
            )
            for signal in sorted(signals, key=lambda row: str(row["tenant_id"]))
        ]

    def send(
        self,
        connection: psycopg.Connection,
        run: Run,
        results: Sequence[TenantResult],
        network: Network,
    ) -> Sequence[TenantResult | TenantFailure]:
        """Send everything that is due for these tenants; the customer's counts go into the outcomes."""
        reports = deliver(
            connection,
            [result.tenant_id for result in results],
            network,
            owner=owner_of(run),
            clock=lambda: datetime.now(UTC),
            settings=self._settings,
            statuses=(Status.PENDING,),
            stop_at=datetime.now(UTC) + timedelta(seconds=run.send_seconds),
        )
        return [
            failure_of(result.tenant_id, report) or _with_counts(result, report)
            for result in results
            for report in [reports.get(result.tenant_id, DeliveryReport())]
        ]

    def _enqueue(
        self,
        connection: psycopg.Connection,
        run: Run,
        signal: Mapping[str, Any],
        preferences: Preferences,
        templates: Mapping[str, Template],
    ) -> TenantResult:
        tenant_id, cutoff, settings = signal["tenant_id"], _cutoff(run), preferences.settings
        oldest = cutoff - timedelta(hours=settings.expire_hours)
        waiting = [(row, _scheduled_at(row)) for row in signal["waiting"]]
        expired = [row["id"] for row, scheduled_at in waiting if scheduled_at < oldest]
        nowhere = [row["id"] for row, at in waiting if at >= oldest and row["channel"] is None]
        drafts = [
            _draft(tenant_id, row, scheduled_at)
            for row, scheduled_at in waiting
            if scheduled_at >= oldest and row["channel"] is not None
        ]
        reminded = reminders(
            tenant_id,
            [*map(_certificate, signal["certificates"]), *map(_goal, signal["goals"])],
            run.business_date,
            days_before={
                CERTIFICATE_EXPIRY: settings.certificate_days,
                GOAL_DUE: settings.goal_days,
            },
            templates=templates,
            due_at=cutoff,
        )
        queued = outbox.enqueue(connection, [*drafts, *reminded.drafts], created_by=run.execution_id)
        notes = [*([preferences.problem] if preferences.problem else []), *reminded.notes]
        for ids, code, reason in (
            (expired, "expired", f"予定から {settings.expire_hours} 時間以上過ぎたため送信しません"),
            (nowhere, "unknown_channel", "通知の種類（notification_type）が分からないため送信しません"),
        ):
            if ids:
                connection.execute(
                    read_sql(_HERE, "expire_host_notifications"), {"ids": ids, "code": code, "reason": reason}
                )
                notes.append(f"{len(ids)} 件: {reason}")
        details = {"queued": queued, "expired": len(expired)}
        return TenantResult(tenant_id, details, records=len(waiting), notes=tuple(notes))


def _cutoff(run: Run) -> datetime:
    # What is scheduled up to this time of the run's day is due.
    return sending_time(run.business_date)


def _scheduled_at(row: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(row["scheduled_at_utc"]).replace(tzinfo=UTC)


def _draft(tenant_id: str, row: Mapping[str, Any], scheduled_at: datetime) -> Draft:
    channel = Channel(row["channel"])
    shown = literal(channel, row["subject"], row["body"], is_html=row["is_html"])
    return Draft(
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
    )


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
            "expires_on": f"{ends_on:%Y/%m/%d}",
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
            "due_on": f"{due_on:%Y/%m/%d}",
        },
    )


def _with_counts(result: TenantResult, report: DeliveryReport) -> TenantResult:
    counts = {
        "totalNotifications": report.total(),
        "sentCount": report.total(Status.SENT),
        "failedCount": report.total(Status.DEAD),
        "retryCount": report.total(Status.RETRY),
        "ambiguousCount": report.total(Status.AMBIGUOUS),
        **{f"sent_{channel}": by_status[Status.SENT] for channel, by_status in report.counts.items()},
    }
    return replace(result, details=result.details | counts)
