"""Batches that send, check or clean up messages, and what people decide about messages, channels and addresses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from include.skillreport.approvals import SEND_ALL
from include.skillreport.approvals.requests import ApprovalAnswer, record_answer
from include.skillreport.core.catalog import (
    NOTIFICATION_LOG_CLEANUP,
    NOTIFICATION_RETRY,
    NOTIFICATION_SETTINGS_CHECK,
    SCHEDULED_NOTIFICATIONS,
)
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.operation_catalog import APPROVE_RESUMPTION, OPERATE_NOTIFICATIONS
from include.skillreport.messaging import suppression
from include.skillreport.operations.operate_notifications.form import FORM
from tests.contracts.case import PERSON, Case, Form, World, entered, refusing
from tests.contracts.cases.tenants import NAMED, break_settings
from tests.worlds import host_rows, old_messages, outbox_rows
from tests.worlds.approval_rows import ACCOUNTANT, asked
from tests.worlds.outbox_rows import TODAY


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


def messages_of_long_ago(world: World) -> Form:
    """Each tenant has a notification and a message of long ago, and new ones."""
    for tenant_id in "ABC":
        host_rows.tenant(world.host, tenant_id)
        for at in (old_messages.OLD, old_messages.FIRST_KEPT):
            old_messages.logged(world.host, tenant_id, at)
            old_messages.message(world.host, tenant_id, finished_at=at.replace(tzinfo=UTC))
    return NAMED


def revoked_tokens(world: World) -> Form:
    """Slack knows the tenants' tokens no more, and LINE WORKS has no settings."""
    for tenant_id in "ABC":
        host_rows.tenant(world.host, tenant_id, admin_email=f"admin@{tenant_id}.example.jp")
        integration = {"base_url": world.services.slack_base_url}
        outbox_rows.integration(
            world.host, tenant_id, "slack", auth={"bot_token": "revoked"}, connection=integration
        )
        outbox_rows.integration(world.host, tenant_id, "line_works", auth={})
    return NAMED


def in_doubt(world: World) -> Form:
    """Slack's answer says of no tenant's message whether it has arrived."""
    for tenant_id in "ABC":
        host_rows.tenant(world.host, tenant_id)
        outbox_rows.slack(world.host, tenant_id, world.services)
        outbox_rows.waiting(world.host, tenant_id, "SLACK", recipient_address=f"C{tenant_id}")
    world.services.fail_next("slack", "internal_error", times=3)
    outbox_rows.run_notifications(world.database, world.services)
    (message_id,) = world.host.execute(
        "SELECT message_id FROM batch.outbox WHERE tenant_id = 'A' AND status = 'ambiguous'"
    ).fetchone() or ("",)
    return {"messages": [message_id], "tenants": ["A"]}


def closed_channels(world: World) -> Form:
    for tenant_id in "ABC":
        host_rows.tenant(world.host, tenant_id)
        outbox_rows.slack(world.host, tenant_id, world.services)
        outbox_rows.waiting(world.host, tenant_id, "SLACK", recipient_address=f"C{tenant_id}")
    world.services.fail_next("slack", "token_revoked", times=3)
    outbox_rows.run_notifications(world.database, world.services)
    return NAMED


def suppressed(world: World) -> Form:
    """The same address bounced for each tenant."""
    now = datetime.now(UTC) - timedelta(hours=1)
    for tenant_id in "ABC":
        host_rows.tenant(world.host, tenant_id)
        with (
            world.database.connect("batch_tenant") as connection,
            tenant_transaction(connection, [tenant_id]),
        ):
            suppression.record_bounce(
                connection, tenant_id, "taro@example.jp", message_id="1", error_code="5.1.1", now=now
            )
    return {"addresses": ["taro@example.jp"], **NAMED}


def stopped(world: World) -> Form:
    """Messages wait for tenants whose messages are stopped."""
    waiting(world)
    outbox_rows.operate(world.database, world.services, "stop", codes=["A", "B", "C"], reason="移行中")
    outbox_rows.run_notifications(world.database, world.services)
    return NAMED


def _operation(
    name: str,
    plant: Callable[[World], Form],
    *changes: str,
    refuses: str = "",
) -> Case:
    """``refuses``: the table that refuses rows of tenant B. Without it, the operation is on A alone."""

    def planted(world: World) -> Form:
        return entered(FORM, name, {"reason": "宛先を直したため", **plant(world)})

    return Case(
        OPERATE_NOTIFICATIONS,
        name,
        TODAY,
        planted,
        frozenset(changes),
        person=PERSON,
        break_tenant=refusing(refuses) if refuses else None,
    )


def held(world: World) -> Form:
    """Messages of A and B wait for the answer, which has come. One of C waits for that of another batch."""
    for tenant_id in "ABC":
        host_rows.tenant(world.host, tenant_id)
        outbox_rows.slack(world.host, tenant_id, world.services)
        outbox_rows.waiting(world.host, tenant_id, "SLACK", recipient_address=f"C{tenant_id}")
    result = outbox_rows.scheduled(world.database, world.services, after=timedelta(hours=25))
    world.host.execute("UPDATE batch.outbox SET deferred_for = 'BATCH-018-04' WHERE tenant_id = 'C'")
    request = asked(world.database, result)
    with world.database.connect("batch_platform") as platform:
        record_answer(platform, request.request_id, ApprovalAnswer(ACCOUNTANT, _ANSWERED, {"BATCH-019-01"}))
    return {"request": request.request_id, "answer": SEND_ALL, "hours": None}


_ANSWERED = datetime(2026, 11, 5, 2, tzinfo=UTC)

_SENDING = frozenset({"batch.outbox", "public.HIS_NotificationLog", "messages"})
_THROUGH_LIMITS = _SENDING | {"batch.service_limit"}

CASES = (
    Case(
        SCHEDULED_NOTIFICATIONS,
        "",
        TODAY,
        waiting,
        _THROUGH_LIMITS,
        break_tenant=refusing("batch.outbox"),
    ),
    Case(
        NOTIFICATION_RETRY,
        "",
        TODAY,
        refused_for_now,
        _THROUGH_LIMITS,
        break_tenant=refusing("batch.outbox"),
    ),
    Case(
        NOTIFICATION_LOG_CLEANUP,
        "",
        old_messages.TODAY,
        messages_of_long_ago,
        frozenset({"batch.outbox", "public.HIS_NotificationLog", "files"}),
        break_tenant=break_settings,
    ),
    Case(
        NOTIFICATION_SETTINGS_CHECK,
        "",
        TODAY,
        revoked_tokens,
        frozenset({"batch.outbox", "batch.setting_finding", "public.SYS_IntegrationConfig"}),
        break_tenant=refusing("batch.setting_finding"),
    ),
    _operation("list", in_doubt),
    _operation("resend", in_doubt, *_SENDING),
    _operation("discard", in_doubt, "batch.outbox", "public.HIS_NotificationLog"),
    _operation("mark_sent", in_doubt, "batch.outbox", "public.HIS_NotificationLog"),
    _operation("reopen", closed_channels, "batch.channel_circuit", *_SENDING, refuses="batch.outbox"),
    _operation("list_suppressed", suppressed),
    _operation("lift", suppressed, "batch.suppressed_address"),
    _operation("stop", waiting, "batch.message_stop", refuses="batch.message_stop"),
    _operation("resume", stopped, "batch.message_stop", *_THROUGH_LIMITS, refuses="batch.outbox"),
    Case(
        APPROVE_RESUMPTION, "", TODAY, held, frozenset({"batch.approval_item", "batch.outbox"}), at=_ANSWERED
    ),
)
