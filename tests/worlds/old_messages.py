"""Notifications and messages that BATCH-019-06 archives and deletes, on 1 November 2026."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import count
from typing import Any

import psycopg

from tests.worlds import host_rows

TODAY = date(2026, 11, 1)

# Of the 90th day before it, in Japan: what finished then stays.
FIRST_KEPT = datetime(2026, 8, 2, 15)

OLD = datetime(2026, 7, 1, 3, 4, 5, 678_000)

row_ids = count(1)


def logged(
    host: psycopg.Connection, tenant_id: str, finished_at: datetime = OLD, log_id: str = "", **values: Any
) -> str:
    """A notification of the application, sent at that time (UTC) unless said otherwise; returns its id."""
    log_id = log_id or f"ntf_{next(row_ids):06}"
    values = {
        "send_status": "SUCCESS",
        "sent_at": finished_at,
        "created_at": finished_at,
        "updated_at": finished_at,
        "notification_type": "EMAIL",
    } | values
    host_rows.insert(host, "HIS_NotificationLog", id=log_id, tenant_id=tenant_id, **values)
    return log_id


def message(host: psycopg.Connection, tenant_id: str, **values: Any) -> str:
    """A message of the outbox, sent long ago and needed for nothing unless said otherwise; returns its id."""
    message_id = f"msg_{next(row_ids):06}"
    at = OLD.replace(tzinfo=UTC)
    values = {
        "dedupe_key": message_id,
        "channel": "email",
        "destination": "member@example.jp",
        "subject": "お知らせ",
        "body": "本文",
        "status": "sent",
        "due_at": at,
        "next_attempt_at": at,
        "dedupe_until": at,
        "finished_at": at,
        "created_by": "test",
    } | values
    columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
    host.execute(
        f"INSERT INTO batch.outbox (message_id, tenant_id, {columns}) VALUES (%s, %s, {places})",
        [message_id, tenant_id, *values.values()],
    )
    return message_id
