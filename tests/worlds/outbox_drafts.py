"""Messages of tests of the outbox, their claims and states, on 1 November 2026."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from include.skillreport.core.database import tenant_transaction
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.outbox import Claimed, Lane, MessageDraft
from include.skillreport.messaging.retry import Status
from tests.worlds.outbox_rows import claim_due

NOW = datetime(2026, 11, 1, 0, 0, tzinfo=UTC)

DUE = (Status.PENDING, Status.RETRY)

A = Lane("A", SLACK)


def draft(key: str, lane: Lane = A, **values: Any) -> MessageDraft:
    """A message that has been due for an hour."""
    usual: dict[str, Any] = {
        "destination": "member@example.jp" if lane.channel is EMAIL else "C1",
        "subject": "件名",
        "body": "本文",
        "due_at": NOW - timedelta(hours=1),
    }
    return MessageDraft(tenant_id=lane.tenant_id, dedupe_key=key, channel=lane.channel, **usual | values)


def put(connection: psycopg.Connection, *drafts: MessageDraft, tenant_ids: Sequence[str] = ("A", "B")) -> int:
    """Into the outbox, in one transaction for some tenants; returns how many were new."""
    with tenant_transaction(connection, tenant_ids):
        return outbox.enqueue(connection, drafts, created_by="test")


def claim(
    connection: psycopg.Connection,
    lane: Lane = A,
    *,
    count: int = 10,
    owner: str = "first",
    at: Collection[Status] = DUE,
    now: datetime = NOW,
) -> Sequence[Claimed]:
    """Claim the due messages."""
    return claim_due(connection, lane, at, count=count, owner=owner, due_before=now, now=now)


def park(
    connection: psycopg.Connection, now: datetime, tenant_ids: Sequence[str] = ("A", "B")
) -> dict[str, Status]:
    """The first step of a run."""
    with tenant_transaction(connection, tenant_ids):
        return outbox.park_crashed(connection, now)


def state(host: psycopg.Connection, key: str) -> tuple[str, int, str | None, str | None]:
    """A message's status, attempts, owner and error."""
    found = host.execute(
        "SELECT status, attempts, lease_owner, error_code FROM batch.outbox WHERE dedupe_key = %s", [key]
    ).fetchone()
    assert found is not None
    return found
