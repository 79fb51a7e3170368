"""Letters with invoices in the application's log, their arrival, and the dates of June's invoice."""

from __future__ import annotations

from datetime import date, timedelta

import psycopg

JUNE = date(2026, 6, 1)
DUE = date(2026, 7, 31)
SEVENTH = DUE + timedelta(days=7)


def body(host: psycopg.Connection, subject: str) -> str:
    row = host.execute(
        'SELECT message_body FROM "HIS_NotificationLog" WHERE subject LIKE %s', [f"%{subject}%"]
    ).fetchone()
    assert row is not None
    return str(row[0])


def sent(host: psycopg.Connection) -> None:
    """All letters so far have arrived."""
    host.execute("""UPDATE "HIS_NotificationLog" SET send_status = 'SENT'""")
