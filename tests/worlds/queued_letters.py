"""Letters of BATCH-019-01 to A's payer, put into the outbox."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from include.skillreport.core.database import tenant_transaction
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.reminder_names import GOAL_DUE
from include.skillreport.messaging.templates import literal
from tests.conftest import Database

PAYER = "keiri@example.jp"
TOO_OLD = timedelta(hours=80)

DUE_AT = datetime(2026, 11, 1, tzinfo=UTC)


def queue(database: Database, *drafts: MessageDraft) -> None:
    with database.connect("batch_tenant") as connection, tenant_transaction(connection, ["A"]):
        outbox.enqueue(connection, drafts, created_by="test")


def draft(template_key: str | None, due_at: datetime, key: str = "k") -> MessageDraft:
    return MessageDraft("A", key, EMAIL, PAYER, "件名", "本文", due_at, template_key=template_key)


def reminder_of_goal(number: int, channel: Channel = EMAIL, body: str = "", **changes: Any) -> MessageDraft:
    """A reminder of a goal."""
    shown = literal(channel, f"件名{number}", body or f"本文{number}")
    reminder = MessageDraft(
        "A",
        f"goal_due:{number}",
        channel,
        "someone",
        shown.subject,
        shown.text,
        DUE_AT,
        rich=shown.rich,
        template_key=GOAL_DUE,
        dedupe_until=DUE_AT + timedelta(days=number),
    )
    return replace(reminder, **changes)
