"""Messages, closed channels, stopped addresses and an open request, as the board shows them."""

from __future__ import annotations

from typing import Any

import psycopg

TEXT = "極秘の本文"
ADDRESS = "hanako.yamada@kaisha.example"


def message(host: psycopg.Connection, message_id: str, status: str = "dead", **values: Any) -> str:
    """A message in the outbox; returns its id."""
    row = {
        "tenant_id": "A",
        "channel": "email",
        "destination": ADDRESS,
        "error_code": "mailbox_unavailable",
        "error_detail": f"550 <{ADDRESS}> does not exist",
        "finished_at": "2026-11-20T00:00+09:00" if status in ("dead", "expired", "sent") else None,
    } | values
    host.execute(
        """
        INSERT INTO batch.outbox (
            message_id, tenant_id, dedupe_key, channel, destination, subject, body, status, attempts, due_at, next_attempt_at,
            error_code, error_detail, created_by, finished_at
        )
        VALUES (
            %(message_id)s, %(tenant_id)s, %(message_id)s, %(channel)s, %(destination)s, %(text)s, %(text)s, %(status)s, 3,
            now() - interval '1 day', now() - interval '1 hour', %(error_code)s, %(error_detail)s, 'run', %(finished_at)s
        )
        """,
        row | {"message_id": message_id, "status": status, "text": TEXT},
    )
    return message_id


def open_resumption(host: psycopg.Connection) -> None:
    """BATCH-019-01 asks whether the messages after a pause are sent."""
    host.execute(
        """
        INSERT INTO batch.approval_request (request_id, kind, business_date, asked_by, dag_id, run_id, asked_at)
        VALUES ('open', 'resumption', '2026-11-25', 'run', 'approve_resumption', 'run+1', now());
        INSERT INTO batch.approval_item (
            request_id, tenant_id, item_id, tenant_code, tenant_name, held_by, fingerprint, figures, reason
        )
        VALUES ('open', 'BATCH-019-01', 'BATCH-019-01', 'BATCH-019-01', '', 'run', 'f', '{}', '2 週間止まっていました')
        """
    )


def suppress(
    host: psycopg.Connection, tenant_id: str = "A", address: str = ADDRESS, reason: str = "bounce"
) -> None:
    host.execute(
        "INSERT INTO batch.suppressed_address (tenant_id, address, error_code, reason) VALUES (%s, %s, 'x', %s)",
        [tenant_id, address, reason],
    )


def close_channel(host: psycopg.Connection, tenant_id: str, channel: str, reason: str) -> None:
    host.execute(
        "INSERT INTO batch.channel_circuit (tenant_id, channel, error_code, reason) VALUES (%s, %s, 'token_revoked', %s)",
        [tenant_id, channel, reason],
    )
