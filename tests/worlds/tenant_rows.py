"""Rows of one tenant for each section of its page."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.core.execution.business_date import JAPAN
from tests.worlds.billing_rows import insert

NOW = datetime.now(UTC)
TODAY = NOW.astimezone(JAPAN).date()


def everything_of(host: psycopg.Connection, tenant_id: str, marker: str) -> None:
    """A row in each section of the tenant's page, with the marker in a text of it."""
    yesterday = TODAY - timedelta(days=1)
    insert(
        host,
        "usage_day",
        tenant_id=tenant_id,
        usage_date=yesterday,
        registered_users=9,
        active_users=7,
        total_logins=3,
        api_calls=None,
        error_count=None,
        peak_concurrent_users=None,
        storage_bytes=3 * 2**30,
        reports_generated=1,
        skill_assessments=0,
        notifications_sent=0,
        closed_by=marker,
    )
    insert(
        host,
        "usage_warning",
        tenant_id=tenant_id,
        kind="quota",
        metric="storage_bytes",
        threshold_percent=80,
        window_start=TODAY.replace(day=1),
        business_date=yesterday,
        observed=9 * 2**30,
        reference=10 * 2**30,
        raised_by=marker,
    )
    insert(
        host,
        "invoice",
        invoice_id=f"inv-{marker}",
        tenant_id=tenant_id,
        kind="invoice",
        period_start=date(2026, 10, 1),
        period_end=date(2026, 10, 31),
        currency="JPY",
        total=11000,
        content=Jsonb({}),
        inputs=Jsonb({}),
        input_hash="x",
        hold_reason=f"保留の理由 {marker}",
        execution_id="e",
    )
    insert(
        host,
        "reminder_stop",
        stop_id=marker,
        tenant_id=tenant_id,
        reason=f"停止 {marker}",
        entered_by="sato",
    )
    for check, closed_at in (("error_rate", None), ("response_time", NOW)):
        insert(
            host,
            "incident",
            tenant_id=tenant_id,
            check_name=check,
            opened_at=NOW - timedelta(hours=3 if closed_at is None else 1),
            severity="critical",
            evidence=f"{check} {marker}",
            breached_at=NOW,
            opened_by="e",
            closed_at=closed_at,
            closed_because="recovered" if closed_at else None,
        )
    insert(
        host,
        "tenant_inactivity",
        tenant_id=tenant_id,
        stage="warning",
        last_activity_on=date(2026, 8, 1),
        inactive_since=date(2026, 8, 1),
        judged_on=yesterday,
        entered_on=yesterday,
        entered_by="e",
    )
    insert(
        host,
        "outbox",
        message_id=f"m-{marker}",
        tenant_id=tenant_id,
        dedupe_key="k",
        channel="email",
        destination=f"{marker}@customer.example",
        subject=marker,
        body="本文の秘密",
        due_at=NOW,
        next_attempt_at=NOW,
        template_key=f"template-{marker}",
        created_by="e",
    )
    insert(
        host,
        "monthly_report",
        tenant_id=tenant_id,
        report_month=date(2026, 10, 1),
        contents=Jsonb({"secret": marker}),
        missing_days=2,
        recipients=[],
        made_by=marker,
    )
    insert(
        host,
        "directory_sync",
        tenant_id=tenant_id,
        provider="slack",
        synced_on=yesterday,
    )
    insert(
        host,
        "sync_plan",
        tenant_id=tenant_id,
        provider="slack",
        execution_id="e",
        status="held",
        plan_hash="h",
        world_hash="w",
        entries=Jsonb([{"person": "人の秘密"}]),
        problems=Jsonb([]),
        counts=Jsonb({"deactivate": 12}),
        reason=f"大量の解除 {marker}",
    )
    insert(
        host,
        "setting_finding",
        tenant_id=tenant_id,
        subject=f"slack {marker}",
        code="no_token",
        english="No token",
        detail="トークンがありません",
        found_on=yesterday,
    )
    insert(
        host,
        "setting_change",
        tenant_id=tenant_id,
        setting_key=f"limits.{marker}",
        execution_id="e",
        kind="updated",
        new_value="値の秘密",
        reason="プランの変更",
        changed_by="e",
    )
