"""Batches that send, check or clean up messages, and what people decide about messages, channels and addresses."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from include.skillreport.core.catalog import (
    NOTIFICATION_LOG_CLEANUP,
    NOTIFICATION_RETRY,
    NOTIFICATION_SETTINGS_CHECK,
    SCHEDULED_NOTIFICATIONS,
)
from include.skillreport.core.operation_catalog import OPERATE_NOTIFICATIONS
from tests import host_rows
from tests.batches.notification import test_log_cleanup
from tests.contracts.case import PERSON, Case, Form, World, refusing
from tests.contracts.cases.tenants import NAMED
from tests.messaging import outbox_rows
from tests.messaging.outbox_rows import TODAY


def goal(world: World, tenant_id: str) -> None:
    """A person's goal is due in seven days."""
    person = host_rows.user(world.host, tenant_id, f"user of {tenant_id}".replace(" ", "."))
    host_rows.insert(
        world.host,
        "TRN_GoalProgress",
        id=f"goal of {tenant_id}",
        tenant_id=tenant_id,
        employee_id=f"emp_{person}",
        goal_title="英語",
        goal_type="SKILL",
        target_date=datetime(2026, 11, 8),
        achievement_status="in_progress",
        updated_at=host_rows.UPDATED_AT,
        created_by=person,
        updated_by=person,
    )


def waiting(world: World) -> Form:
    """Each tenant has a notification over Slack, an e-mail and a reminder to send."""
    for tenant_id in "ABC":
        host_rows.tenant(world.host, tenant_id)
        outbox_rows.slack(world.host, tenant_id, world.services)
        outbox_rows.waiting(world.host, tenant_id, "SLACK", recipient_address=f"C{tenant_id}")
        outbox_rows.waiting(world.host, tenant_id, recipient_address=f"{tenant_id}@example.jp")
        goal(world, tenant_id)
    return NAMED


def refused_for_now(world: World) -> Form:
    """The first attempts at the messages have failed, and the next one is due."""
    waiting(world)
    world.services.fail_next("slack", "http_503", times=3)
    world.services.fail_next("email", "450 4.2.1 Mailbox busy", command="RCPT", times=6)
    outbox_rows.run_notifications(world.database, world.services)
    outbox_rows.make_due(world.host)
    return NAMED


_SENDING = frozenset({"batch.outbox", "batch.service_limit", "public.HIS_NotificationLog", "messages"})

CASES = (
    Case(
        SCHEDULED_NOTIFICATIONS,
        "",
        TODAY,
        waiting,
        _SENDING,
        break_tenant=refusing("batch.outbox"),
    ),
    Case(
        NOTIFICATION_RETRY,
        "",
        TODAY,
        refused_for_now,
        _SENDING,
        break_tenant=refusing("batch.outbox"),
    ),
)
